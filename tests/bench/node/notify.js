// What wechat-notify does, as one would write it in Node.js: tenpay verifies
// the notification and asks WeChat, the AWS SDK reads the order, commits
// { order paid, delivery owed } and rings. It refuses to be a second hub: its
// rows are never read.
"use strict";

const { DynamoDBClient, GetItemCommand, TransactWriteItemsCommand } = require("@aws-sdk/client-dynamodb");
const { SQSClient, SendMessageCommand } = require("@aws-sdk/client-sqs");
const { randomBytes } = require("crypto");
const tenpay = require("tenpay");
const run = require("./runtime");

const env = process.env;
const table = env.LEDGER_TABLE;
const database = new DynamoDBClient({});
const queue = new SQSClient({});
const merchant = new tenpay({ appid: env.WECHAT_APP_ID, mchid: env.WECHAT_MCH_ID, partnerKey: env.WECHAT_API_KEY });
merchant.urls.orderquery = `${env.WECHAT_PAY_BASE}/pay/orderquery`;
const verify = merchant.middlewareForExpress("pay");

function verified(body) {
  return new Promise((resolve, reject) => {
    const request = { body };
    const refusal = { header() {}, send: (answer) => reject(new Error(answer)) };
    verify(request, refusal, () => resolve(request.weixin));
  });
}

async function notified(event) {
  const notice = await verified(event.body);
  const number = notice.out_trade_no;
  const pk = `${number.slice(0, 16)}#${number.slice(16, 26)}`;
  const order = await database.send(
    new GetItemCommand({ TableName: table, Key: { pk: { S: pk }, sk: { S: "order" } }, ConsistentRead: true }),
  );
  if (!order.Item) throw new Error("there is no such order");
  const trade = await merchant.orderQuery({ out_trade_no: number, sign_type: env.WECHAT_SIGN_TYPE });
  if (trade.trade_state !== "SUCCESS" || trade.transaction_id !== notice.transaction_id) {
    throw new Error("WeChat does not confirm the payment");
  }
  const sk = "delivery#node";
  await database.send(
    new TransactWriteItemsCommand({
      TransactItems: [
        {
          Update: {
            TableName: table,
            Key: { pk: { S: pk }, sk: { S: "order" } },
            UpdateExpression: "SET paid_by = :id REMOVE wake, #shard",
            ConditionExpression: "revision = :seen",
            ExpressionAttributeNames: { "#shard": "shard" },
            ExpressionAttributeValues: { ":id": { S: trade.transaction_id }, ":seen": order.Item.revision },
          },
        },
        {
          Put: {
            TableName: table,
            Item: { pk: { S: pk }, sk: { S: sk }, event_id: { S: randomBytes(16).toString("hex") }, step: { N: "0" } },
            ConditionExpression: "attribute_not_exists(pk)",
          },
        },
      ],
    }),
  );
  await queue.send(
    new SendMessageCommand({
      QueueUrl: `${env.AWS_ENDPOINT_URL}/node`,
      MessageBody: JSON.stringify({ pk, sk, step: 0 }),
      MessageGroupId: number.slice(0, 16),
    }),
  );
  const body =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";
  return { statusCode: 200, headers: { "content-type": "text/xml; charset=utf-8" }, body };
}

run(notified);
