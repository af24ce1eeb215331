// The computations of tenpay, and by version 3 of wechatpay-axios-plugin, the same
// as shared/benches/payment.rs has: prints the median microseconds of each as JSON.
"use strict";

const { readFileSync } = require("fs");
const { join } = require("path");
const tenpay = require("tenpay");
const { Aes, Formatter, Rsa } = require("wechatpay-axios-plugin");

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

const FIXTURES = join(__dirname, "../../../shared/src/wechat/v3/fixtures");
const fixture = (name) => readFileSync(join(FIXTURES, name), "utf8");
const V3 = {
  key: Rsa.from(fixture("merchant.key"), Rsa.KEY_TYPE_PRIVATE),
  wechat: Rsa.from(fixture("sample.pem"), Rsa.KEY_TYPE_PUBLIC),
  apiV3Key: "a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb",
  timestamp: "1795140000",
  nonce: "c5ac7061fccab6bf3e254dcf98995b8c",
  notice: fixture("notice.json"),
  signature: fixture("notice.txt"),
};

async function v3Verified() {
  const message = Formatter.response(V3.timestamp, V3.nonce, V3.notice);
  if (!Rsa.verify(message, V3.signature, V3.wechat)) throw new Error("WeChat's signature is wrong");
  const { ciphertext, nonce, associated_data } = JSON.parse(V3.notice).resource;
  return JSON.parse(Aes.AesGcm.decrypt(ciphertext, V3.apiV3Key, nonce, associated_data));
}

async function v3Signed() {
  const fields = { appId: "wxd678efh567hg6787", timeStamp: V3.timestamp, nonceStr: Formatter.nonce() };
  fields.package = "prepay_id=wx201410272009395522657a690389285100";
  const message = Formatter.joinedByLineFeed(fields.appId, fields.timeStamp, fields.nonceStr, fields.package);
  return { ...fields, signType: "RSA", paySign: Rsa.sign(message, V3.key) };
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
  const figures = {
    verify: await median(verified),
    sign: await median(signed),
    v3_verify: await median(v3Verified),
    v3_sign: await median(v3Signed),
  };
  console.log(JSON.stringify(figures));
})();
