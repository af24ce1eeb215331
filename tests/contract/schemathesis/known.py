"""What is there before the first request: apps, orders in several states, refunds,
people and keys, made as everybody makes them: by hubctl, the API, and WeChat's
simulator. Its signatures are of its own, by docs/apps.md. Standard library only."""

import base64
import hashlib
import hmac
import http.client
import json
import os
import secrets
import struct
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

ROOT = Path(__file__).resolve().parent.parent.parent.parent
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
COOKIE = "__Host-hub_operator"
# One person may give back 1500 fen of a payment on the local stack, two people all of it.
PRICE = 2000


def settings() -> dict:
    """What the stack that is up says of itself."""
    lines = Path(os.environ["HUB_ENV"]).read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


def sign(params: dict, secret: str) -> str:
    told = {name: value for name, value in params.items() if name != "sign" and value not in ("", None)}
    text = "&".join(f"{name}={told[name]}" for name in sorted(told, key=str.encode))
    signed = f"{text}&key={secret}".encode("utf-8", "surrogatepass")
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().upper()


class Answer:
    def __init__(self, answer: http.client.HTTPResponse):
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read().decode()

    def json(self, *expected: int) -> dict:
        assert self.status in expected, f"{self.status} {self.text}"
        return json.loads(self.text) if self.text else {}


def call(method: str, url: str, body: dict | None = None, headers: dict | None = None) -> Answer:
    """One request, whose redirect is not followed."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.netloc, timeout=30)
    path = address.path + (f"?{address.query}" if address.query else "")
    data = None if body is None else json.dumps(body)
    json_type = {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, data, {**json_type, **(headers or {})})
    answer = Answer(connection.getresponse())
    connection.close()
    return answer


class Person:
    """An operator who has enrolled. A code is good once, so that there is one for
    enrolling and one for logging in."""

    def __init__(self, known: "Known", role: str):
        self.known, self.name = known, f"s-{secrets.token_hex(6)}"
        self.token = known.hubctl("operator", "create", self.name, "--role", role)["token"]
        self.password = f"a password {secrets.token_hex(16)}"
        self.headers = {"X-Payer-Address": "10." + ".".join(str(byte) for byte in secrets.token_bytes(3))}

    def has_secret(self) -> "Person":
        asked = {"name": self.name, "token": self.token}
        offered = call("POST", f"{self.known.desk}/enrolment/codes", asked, self.headers).json(200)
        self.secret = base64.b32decode(offered["secret"] + "=" * (-len(offered["secret"]) % 8))
        return self

    def enrolment(self) -> dict:
        return {"name": self.name, "token": self.token, "password": self.password, "code": self.code(0)}

    def enrolled(self) -> "Person":
        call("POST", f"{self.known.desk}/enrolment", self.has_secret().enrolment(), self.headers).json(204)
        return self

    def code(self, steps: int) -> str:
        """RFC 6238, so many steps from now."""
        step = struct.pack(">q", int(time.time()) // 30 + steps)
        digest = hmac.new(self.secret, step, hashlib.sha1).digest()
        number = struct.unpack_from(">I", digest, digest[19] & 15)[0] & 0x7FFFFFFF
        return f"{number % 1_000_000:06}"

    def wait_for_a_code(self) -> None:
        """Until the code after the present one is another than what logged in."""
        while int(time.time()) // 30 <= self.logged_in:
            time.sleep(0.2)

    def login(self) -> dict:
        self.logged_in = int(time.time()) // 30
        return {"name": self.name, "password": self.password, "code": self.code(1)}

    def proof(self) -> dict:
        """The headers of somebody who has logged in."""
        answer = call("POST", f"{self.known.desk}/session", self.login(), self.headers)
        session = answer.json(201)
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        return {**self.headers, "Cookie": cookie, "X-CSRF-Token": session["csrf_token"]}


class Known:
    def __init__(self, settings: dict):
        self.settings = settings
        self.env_file = str(Path(os.environ["HUB_ENV"]).resolve())
        self.hub = settings["HUB_URL"]
        self.desk = f"{self.hub}/v1/operator"
        self.site = settings["SHOP_URL"] + "/"
        self.app = self._app()
        # Whatever operators change is changed about this one.
        self.changed_app = self._app()
        for app in (self.app, self.changed_app):
            self.control("SHOP", "apps", app)
        # Given up after 13 s, by the end of the schedule of the tests' stacks.
        self.exhausted = self.order(self.changed_app)
        self.control(
            "SHOP", "behaviour",
            {"app_id": self.changed_app["app_id"], "order_no": self.exhausted["order_no"], "mode": "fail"},
        )  # fmt: skip
        self.pay(self.exhausted)
        self.open = self.order(self.app)
        self.paid = self.order(self.app)
        self.pay(self.paid)
        self.refunded, self.refund_no = self.order(self.app), "R1"
        self.pay(self.refunded)
        order_no = self.refunded["order_no"]
        asked = {"order_no": order_no, "refund_no": self.refund_no, "refund_fee": 1}
        self.signed("POST", f"/v1/orders/{order_no}/refunds", asked, "order_no").json(201, 202)
        self.orders = [self.paid, self.open, self.refunded]
        self.owner = Person(self, "owner").enrolled().proof()
        key = self._key("operator")
        self.key_id = self._key("auditor")["id"]
        self.key = {"Authorization": f"Bearer {key['key']}"}
        app_id = self.app["app_id"]
        self.link = self.hubctl("owner-link", "create", app_id, "--name", "schemathesis", "--days", "1")["token"]
        self.waiting = [self._waits() for _ in range(4)]
        self.offered = Person(self, "auditor")
        self.newcomer = Person(self, "auditor").has_secret()
        self.at_login = Person(self, "auditor").enrolled()
        self.leaver = Person(self, "auditor").enrolled().proof()
        self.changer = Person(self, "auditor").enrolled()
        self.changer_proof = self.changer.proof()

    def hubctl(self, *arguments: str) -> dict:
        """What it prints, `name=value` by lines."""
        ran = subprocess.run(
            [ROOT / "target/local/hubctl", *arguments],
            env={"PATH": os.environ["PATH"], **self.settings}, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return dict(line.partition("=")[::2] for line in ran.stdout.splitlines())

    def _app(self) -> dict:
        accounts = ("WECHAT_APP_ID", "WECHAT_MOBILE_APP_ID", "WECHAT_MINI_APP_ID")
        accounts = [part for name in accounts for part in ("--account", self.settings[name])]
        switches = ("--allow-http", "--allow-direct", "--feed")
        app = self.hubctl("app", "create", *switches, "--site", self.site, *accounts)
        return {"app_id": app["app_id"], "app_secret": app["app_secret"]}

    def _key(self, role: str) -> dict:
        return self.hubctl("apikey", "create", "--name", "schemathesis", "--role", role, "--days", "1")

    def _waits(self) -> str:
        """A refund that waits for a second person."""
        order = self.order(self.app)
        self.pay(order)
        path = f"{self.desk}/orders/{order['app_id']}/{order['order_no']}/refunds"
        return call("POST", path, {"refund_no": "W"}, self.key).json(202)["id"]

    def control(self, who: str, path: str, body: dict) -> dict:
        return call("POST", f"{self.settings[who + '_URL']}/_control/{path}", body).json(200, 204)

    def signed(self, method: str, path: str, params: dict, *of_path: str) -> Answer:
        """A request of the app; what stands in its path is signed and not sent twice."""
        params = {**params, "app_id": self.app["app_id"], "timestamp": int(time.time()), "nonce": secrets.token_hex(16)}
        params["sign"] = sign(params, self.app["app_secret"])
        sent = {name: value for name, value in params.items() if name not in of_path}
        if method == "GET":
            return call(method, f"{self.hub}{path}?{urlencode(sent)}")
        return call(method, f"{self.hub}{path}", sent)

    def order(self, app: dict) -> dict:
        order = {
            "app_id": app["app_id"], "order_no": secrets.token_hex(5), "total_fee": PRICE, "body": "Tea",
            "notify_url": self.site + "notify", "return_url": self.site + "return",
            "trade_type": "NATIVE", "timestamp": int(time.time()), "nonce": secrets.token_hex(16),
        }  # fmt: skip
        order["sign"] = sign(order, app["app_secret"])
        return call("POST", f"{self.hub}/v1/orders", order).json(201)

    def pay(self, order: dict) -> None:
        """As the payer does; the hub has heard of it afterwards."""
        self.control("SIMULATOR", "pay", {"out_trade_no": order["trade_no"]})
        path = f"{self.desk}/orders/{order['app_id']}/{order['order_no']}"
        for _ in range(100):
            status = call("GET", path, headers=self._reader()).json(200)["status"]
            if status == "paid":
                return
            time.sleep(0.1)
        raise AssertionError(f"{order['trade_no']} is {status}")

    def _reader(self) -> dict:
        if not hasattr(self, "_reads"):
            self._reads = {"Authorization": f"Bearer {self._key('auditor')['key']}"}
        return self._reads

    def wait_until_exhausted(self) -> None:
        """Until the delivery that the shop refuses is given up."""
        for _ in range(300):
            listed = call("GET", f"{self.desk}/apps/{self.changed_app['app_id']}/deliveries", headers=self._reader())
            if listed.json(200)["deliveries"]:
                return
            time.sleep(0.2)
        raise AssertionError("the delivery is not given up")

    def composed(self, order: dict) -> dict:
        """WeChat's notification of this order's payment: `headers` and `body`."""
        return self.control("SIMULATOR", "compose", {"out_trade_no": order["trade_no"]})

    def js_code(self) -> str:
        asked = {"app_id": self.settings["WECHAT_MINI_APP_ID"]}
        return self.control("SIMULATOR", "js_code", asked)["js_code"]

    def login(self) -> tuple[str, dict]:
        """A user who is back from WeChat: the cookie and the query of the callback."""
        asked = {"redirect_uri": self.site + "login", "scope": "snsapi_base", "state": secrets.token_hex(8)}
        begun = self.signed("GET", "/oauth/authorize", asked)
        assert begun.status == 303, begun.text
        cookie = begun.headers["Set-Cookie"].partition(";")[0]
        address = begun.headers["Location"].partition("#")[0]
        back = call("GET", f"{address}&_user=alice", headers={"User-Agent": "MicroMessenger"})
        assert back.status in (302, 303), back.text
        return cookie, dict(parse_qsl(urlsplit(back.headers["Location"]).query))

    def login_code(self) -> str:
        cookie, query = self.login()
        back = call("GET", f"{self.hub}/oauth/callback?{urlencode(query)}", headers={"Cookie": cookie})
        assert back.status == 303, back.text
        return dict(parse_qsl(urlsplit(back.headers["Location"]).query))["code"]
