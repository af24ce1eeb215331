"""Makes a random request one that the hub takes seriously. What the document allows in
`app_id`, `timestamp`, `sign` and the numbers of orders is replaced by what is true;
what it forbids stays, and is signed as it is. Every eighth request stays as it came:
strangers send such."""

import base64
import hashlib
import json
import re
import time
from collections import Counter, defaultdict
from urllib.parse import parse_qsl, urlsplit

from known import DESKTOP, Known, Person, sign

# What the document allows, where it is not anything.
ALLOWED = {
    "app_id": r"[0-9A-Za-z]{16}",
    "order_no": r"[0-9A-Za-z_-]{10}",
    "refund_no": r"[0-9A-Za-z_-]{1,37}",
    "timestamp": r"[0-9]+",
    "sign": r"[0-9A-F]{64}",
    "mch_id": r"[0-9]{1,32}",
}
# Version 3's headers of a notification.
PROOF = [f"wechatpay_{name}" for name in ("timestamp", "nonce", "serial", "signature")]
OF_PATH = ("order_no", "refund_no")


def is_allowed(name: str, value: object) -> bool:
    if name == "timestamp" and type(value) is int:
        return True
    return isinstance(value, str) and bool(re.fullmatch(ALLOWED.get(name, ".+"), value, re.ASCII | re.DOTALL))


def put(container: object, **values: object) -> None:
    """Replaces what is there and allowed."""
    for name, value in values.items():
        if isinstance(container, dict) and is_allowed(name, container.get(name)):
            container[name] = value


class Hook:
    def __init__(self, known: Known):
        self.known = known
        self.turns, self.right_ones = Counter(), Counter()
        # Once each: what a code, a token or a session that ends is good for.
        self.fresh_code = known.login_code()
        self.reached = defaultdict(Counter)

    def prepare(self, case) -> None:
        operation = case.operation.definition.raw["operationId"]
        turn = self.turns[operation]
        self.turns[operation] += 1
        if turn % 8 == 7:
            return
        is_right = case.meta is None or case.meta.generation.mode.is_positive
        self.know(case, operation, turn)
        special = getattr(self, operation, None)
        if special and is_right:
            turn = self.right_ones[operation]
            self.right_ones[operation] += 1
        if special and is_right and turn % 2 == 0:
            special(case, turn)
        elif operation in ("showPayPage", "getPayStatus"):
            self.sign(case, case.query, fresh=False)
        elif "app" in case.operation.definition.raw["tags"] or operation == "beginLogin":
            self.sign(case, case.query if case.method == "GET" else case.body)

    def know(self, case, operation: str, turn: int) -> None:
        """Numbers of what is there, and the proof of who asks."""
        security = case.operation.definition.raw.get("security")
        has_refund = "refund_no" in (case.path_parameters or {})
        order = self.known.refunded if has_refund else self.known.orders[turn // 2 % 3]
        if security is None:
            put(case.path_parameters, order_no=order["order_no"], refund_no=self.known.refund_no)
            put(case.path_parameters, mch_id=self.known.settings["WECHAT_MCH_ID"])
            return
        proof = dict(self.known.leaver if operation == "endSession" else self.known.owner)
        if {"key": []} in security and turn % 4 == 2:
            proof = dict(self.known.key)
        if not security:
            # Whoever guesses from one address must wait.
            proof = {"X-Payer-Address": "10." + ".".join(str(byte) for byte in divmod(self.turns.total(), 256)) + ".9"}
        case.headers.update(proof)
        if "order_no" in (case.path_parameters or {}):
            put(case.path_parameters, app_id=order["app_id"], order_no=order["order_no"])
        else:
            put(case.path_parameters, app_id=self.known.changed_app["app_id"])
        put(case.query, trade_no=order["trade_no"])
        if operation == "findOrder" and isinstance(case.query, dict):
            # WeChat is not asked of random numbers, by merchants without keys.
            for name in ("transaction_id", "mch_id"):
                case.query.pop(name, None)

    def sign(self, case, params: object, fresh: bool = True) -> None:
        if not isinstance(params, dict):
            return
        put(params, app_id=self.known.app["app_id"])
        if fresh:
            now = int(time.time())
            put(params, timestamp=now if case.method == "POST" else str(now))
        signed = {name: value for name, value in (case.path_parameters or {}).items() if name in OF_PATH}
        put(params, sign=sign({**params, **signed}, self.known.app["app_secret"]))

    # What the operations of these names need beyond that, with a request that is right.

    def createOrder(self, case, turn: int) -> None:
        site = self.known.site
        case.body |= {"notify_url": site + "notify", "return_url": site + "return"}
        case.body["trade_type"] = ("NATIVE", "JSAPI", "MWEB", "APP")[turn // 2 % 4]
        for name in ("version", "openid", "auth_code", "account", "merchant"):
            case.body.pop(name, None)
        self.sign(case, case.body)

    def closeOrder(self, case, turn: int) -> None:
        case.path_parameters["order_no"] = self.known.open["order_no"]
        self.sign(case, case.body)

    def refundOrder(self, case, turn: int) -> None:
        case.path_parameters["order_no"] = self.known.paid["order_no"]
        case.body.pop("transaction_id", None)
        case.body["refund_fee"] = 1
        self.sign(case, case.body)

    def verifyNotification(self, case, turn: int) -> None:
        composed = self.known.composed(self.known.paid)
        case.body["notification"] = base64.b64encode(composed["body"].encode()).decode()
        headers = {name.lower().replace("-", "_"): value for name, value in composed["headers"]}
        case.body |= {name: value for name, value in headers.items() if name in PROOF}
        self.sign(case, case.body)

    def listEvents(self, case, turn: int) -> None:
        case.query.pop("after", None)
        self.sign(case, case.query)

    def beginLogin(self, case, turn: int) -> None:
        case.query["redirect_uri"] = self.known.site + "login"
        case.query["state"] = case.query["state"].replace("&", "+")
        self.sign(case, case.query)

    def exchangeCode(self, case, turn: int) -> None:
        case.body["code"] = self.fresh_code
        self.sign(case, case.body)

    def openMiniProgramSession(self, case, turn: int) -> None:
        case.body["js_code"] = self.known.js_code()
        case.body.pop("account", None)
        self.sign(case, case.body)

    def signPage(self, case, turn: int) -> None:
        case.query["url"] = self.known.site + "item?id=7"
        self.sign(case, case.query)

    def showPayPage(self, case, turn: int) -> None:
        order = (self.known.open, self.known.paid)[turn // 2 % 2]
        case.query = dict(parse_qsl(urlsplit(order["pay_url"]).query))
        case.headers["User-Agent"] = DESKTOP

    getPayStatus = showPayPage

    def finishLogin(self, case, turn: int) -> None:
        if turn < 8:
            cookie, case.query = self.known.login()
            case.cookies = {}
            case.headers["Cookie"] = cookie

    def receiveWechatNotification(self, case, turn: int) -> None:
        self.receiveV3Notification(case, turn)

    receiveMerchantsNotification = receiveWechatNotification

    def receiveV3Notification(self, case, turn: int) -> None:
        composed = self.known.composed(self.known.paid)
        case.body = composed["body"].encode()
        case.headers.update(dict(composed["headers"]))

    def checkServer(self, case, turn: int) -> None:
        query = case.query
        query["timestamp"] = str(int(time.time()))
        proof = sorted([self.known.settings["WECHAT_SERVER_TOKEN"], query["timestamp"], query["nonce"]])
        query["signature"] = hashlib.sha1("".join(proof).encode("utf-8", "surrogatepass")).hexdigest()

    receiveMessage = checkServer

    def proveDomain(self, case, turn: int) -> None:
        case.path_parameters["code"] = self.known.settings["MP_VERIFY_CODE"]

    def beginSession(self, case, turn: int) -> None:
        self.once(case, turn, self.known.at_login, self.known.at_login.login())

    def offerCodes(self, case, turn: int) -> None:
        offered = self.known.offered
        self.once(case, turn, offered, {"name": offered.name, "token": offered.token})

    def enrol(self, case, turn: int) -> None:
        self.once(case, turn, self.known.newcomer, self.known.newcomer.enrolment())

    def once(self, case, turn: int, person: Person, body: dict) -> None:
        if turn == 0:
            case.body = body
            case.headers.update(person.headers)

    def createOwnerLink(self, case, turn: int) -> None:
        case.body["apps"] = [self.known.app["app_id"]]

    def beginLinkSession(self, case, turn: int) -> None:
        case.body["token"] = self.known.link

    def changePassword(self, case, turn: int) -> None:
        changer = self.known.changer
        case.headers.update(self.known.changer_proof)
        if turn == 0:
            # The codes of this step and the next are used up.
            changer.wait_for_a_code()
            case.body = {"password": changer.password, "code": changer.code(1), "new_password": "p" * 12}

    def showApiKey(self, case, turn: int) -> None:
        case.path_parameters["id"] = self.known.key_id

    revokeApiKey = showApiKey

    def createApp(self, case, turn: int) -> None:
        if turn % 4 == 0:
            case.body.pop("changes", None)

    def editApp(self, case, turn: int) -> None:
        if turn % 4 == 0:
            case.body["changes"] = {"name": "Tea"}

    def resend(self, case, turn: int) -> None:
        if turn == 0:
            self.known.wait_until_exhausted()
        case.body |= {"order_no": self.known.exhausted["order_no"], "event": "payment.succeeded"}
        case.body.pop("subject", None)

    def findOrder(self, case, turn: int) -> None:
        case.query = {"trade_no": self.known.paid["trade_no"]}

    def giveOrderUp(self, case, turn: int) -> None:
        case.path_parameters["order_no"] = self.known.open["order_no"]

    def giveBack(self, case, turn: int) -> None:
        case.path_parameters["order_no"] = self.known.paid["order_no"]
        case.body.pop("transaction_id", None)
        case.body["refund_fee"] = 1

    def showWaiting(self, case, turn: int) -> None:
        case.path_parameters["id"] = self.known.waiting[0]

    def rejectWaiting(self, case, turn: int) -> None:
        case.path_parameters["id"] = self.known.waiting[1]

    def confirmWaiting(self, case, turn: int) -> None:
        case.path_parameters["id"] = self.known.waiting[2]
