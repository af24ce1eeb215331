// tenpay's computations, the same as shared/benches/payment.rs has: prints
// the median microseconds of each as JSON.
"use strict";

const tenpay = require("tenpay");

const KEY = "192006250b4c09247ec02edce69f6a2d";
const merchant = new tenpay({ appid: "wxd930ea5d5a258f4f", mchid: "10000100", partnerKey: KEY });
const verify = merchant.middlewareForExpress("pay");
const { buildXML } = require("tenpay/lib/util");

const NOTICE = {
  appid: "wxd930ea5d5a258f4f", bank_type: "CFT", cash_fee: "1999", fee_type: "CNY", is_subscribe: "Y",
  mch_id: "10000100", nonce_str: "5d2b6c2a8db53831f7eda20af46e531c", openid: "oUpF8uMEb4qRXf22hE3X68TekukE",
  out_trade_no: "bench00000000001A00000000101", result_code: "SUCCESS", return_code: "SUCCESS",
  sign_type: "HMAC-SHA256", time_end: "20261121120000", total_fee: "1999", trade_type: "NATIVE",
  transaction_id: "4200001234202611211234567890",
};
NOTICE.sign = merchant._getSign(NOTICE, "HMAC-SHA256");
const BODY = buildXML(NOTICE);

const REQUEST = {
  appid: "wxd930ea5d5a258f4f", body: "Tea, 100 g, in a tin", mch_id: "10000100",
  nonce_str: "5d2b6c2a8db53831f7eda20af46e531c", notify_url: "https://hub.example/wechat/notify",
  out_trade_no: "bench00000000001A00000000101", product_id: "A000000001", sign_type: "HMAC-SHA256",
  spbill_create_ip: "203.0.113.7", time_expire: "20261121140000", time_start: "20261121120000",
  total_fee: "1999", trade_type: "NATIVE",
};

function verified() {
  return new Promise((resolve, reject) => {
    const request = { body: BODY };
    verify(request, { header() {}, send: reject }, () => resolve(request.weixin));
  });
}

async function signed() {
  return buildXML({ ...REQUEST, sign: merchant._getSign(REQUEST, "HMAC-SHA256") });
}

// 50 batches of 200 after a second of warming, as criterion has 50 samples.
async function median(operation) {
  const until = process.hrtime.bigint() + 1000000000n;
  while (process.hrtime.bigint() < until) await operation();
  const samples = [];
  for (let batch = 0; batch < 50; batch++) {
    const begun = process.hrtime.bigint();
    for (let i = 0; i < 200; i++) await operation();
    samples.push(Number(process.hrtime.bigint() - begun) / 200 / 1000);
  }
  return samples.sort((a, b) => a - b)[25];
}

(async () => {
  const figures = { verify: await median(verified), sign: await median(signed) };
  console.log(JSON.stringify(figures));
})();
