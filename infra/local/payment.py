"""One payment from order to delivery, and its timeline, by what a third party
has: the signed API and the addresses."""

import hashlib
import hmac
import json
import secrets
import string
import time
from datetime import datetime
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tools import Missing, step

DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0 Safari/537.36"
PATIENCE_SECONDS = 60


def demonstrate(stack) -> None:
    settings, keys = stack.settings, stack.keys()
    order_no = "D" + "".join(secrets.choice(string.digits) for _ in range(9))
    step(f"Order {order_no}: the shop is told to fail the hub's first two calls")
    call("POST", f"{settings.shop}/_control/behaviour", {"order_no": order_no, "mode": "fail", "times": 2})

    told = [(time.time(), "order placed by the shop")]
    placed = call(
        "POST", f"{settings.shop}/_control/orders",
        {"order_no": order_no, "trade_type": "NATIVE", "total_fee": 1999},
    )  # fmt: skip
    if placed.get("status") not in (200, 201):
        raise Missing(f"The hub did not take the order: {json.dumps(placed)}")
    order = placed["body"]
    page = fetch("GET", order["pay_url"], headers={"User-Agent": DESKTOP, "Accept-Language": "en"})
    told.append((time.time(), f"pay page opened ({len(page)} bytes)"))
    call("POST", f"{settings.simulator}/_control/pay", {"out_trade_no": order["trade_no"]})
    told.append((time.time(), "paid on the simulated phone"))

    found = wait_for_delivery(settings.hub, keys, order_no)
    told += history(found)
    print(f"\nOrder {order_no}, trade {order['trade_no']}, {found['total_fee']} fen: {found['status']}")
    # In the order of cause and effect: the hub's own times are whole seconds.
    for at, text in told:
        print(f"  {datetime.fromtimestamp(at):%H:%M:%S}  {text}")
    print(
        f"\nThe schedule is compressed here: {settings.schedule} s after\n"
        "WeChat's notification; deployed, 1m 2m 3m 4m 5m 10m 20m 30m 1h 2h 5h 12h 24h.\n\n"
        f"Open in a browser:\n"
        f"  {settings.shop}/  the demo shop\n"
        f"  {settings.simulator}/  WeChat: the phone and its switches\n"
        f"  {order['pay_url']}\n                           the pay page of this order\n"
        f"Keys and addresses for scripts: {stack.env_file}\n"
    )


def wait_for_delivery(hub: str, keys: dict, order_no: str) -> dict:
    deadline = time.time() + PATIENCE_SECONDS
    while True:
        order = call("GET", f"{hub}/v1/orders/{order_no}?{urlencode(signed_query(keys, order_no))}")
        deliveries = order["deliveries"]
        if deliveries and all(delivery["status"] == "delivered" for delivery in deliveries):
            return order
        if time.time() > deadline:
            raise Missing(f"Not delivered within {PATIENCE_SECONDS} s: {json.dumps(order, indent=1)}")
        time.sleep(0.3)


def signed_query(keys: dict, order_no: str) -> dict:
    query = {
        "app_id": keys["HUB_APP_ID"],
        "timestamp": str(int(time.time())),
        "nonce": secrets.token_hex(16),
    }
    signed = {**query, "order_no": order_no}
    text = "&".join(f"{key}={value}" for key, value in sorted(signed.items())) + f"&key={keys['HUB_APP_SECRET']}"
    sign = hmac.new(keys["HUB_APP_SECRET"].encode(), text.encode(), hashlib.sha256).hexdigest()
    return {**query, "sign": sign.upper()}


def history(order: dict) -> list:
    """The hub's own record: when it knew, and each attempt to tell the shop."""
    told = [(seconds(order["paid_at"]), "payment time in WeChat's notification to the hub")]
    for delivery in order["deliveries"]:
        for attempt in delivery["attempts"]:
            answer = " ".join(attempt["answer"].split())[:40]
            told.append((
                seconds(attempt["at"]),
                f"{delivery['event']}: step {attempt['step']}, {attempt['address']} address: "
                f"HTTP {attempt.get('http_status')} \"{answer}\" in {attempt['latency_ms']} ms",
            ))  # fmt: skip
    return told


def seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def call(method: str, url: str, body: dict | None = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    text = fetch(method, url, data, {"Content-Type": "application/json"})
    return json.loads(text) if text else {}


def fetch(method: str, url: str, data: bytes | None = None, headers: dict | None = None) -> bytes:
    try:
        with urlopen(Request(url, data=data, method=method, headers=headers or {}), timeout=30) as answer:
            return answer.read()
    except HTTPError as error:
        raise Missing(f"{method} {url.split('?')[0]}: {error.code} {error.read()[:500]!r}") from None
    except URLError as error:
        raise Missing(f"{method} {url.split('?')[0]}: {error.reason}") from None
