"""One local stack: the emulator with template.yaml deployed to it, the
forwarder, WeChat's simulator and the demo shop. Runs in the `stack`
environment."""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3

import tls
from daemons import Daemons, reachable
from tools import (
    BINARIES, FUNCTIONS, LOCAL, ROOT, Missing, build, digest_of, environment, has, step, write_private,
)  # fmt: skip

REGION = "us-east-1"
BUCKET = "hub-artifacts"
# The emulator takes any key.
AWS_ACCESS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION}
# The 13 offsets of a deployment with a second for a minute; the tests' end sooner.
SCHEDULES = {"demo": "1,2,3,4,5,10,20,30,60,120,300,720,1440", "test": "1,2,3,4,5,6,7,8,9,10,11,12,13"}
MP_VERIFY_CODE = "localDomain00001"
FIRST_PORTS = {"demo": 8600, "test": 8700}
# The setting that moves each port, from the first on, and the process that listens there.
PORTS = {
    "HUB_PORT": "forwarder",
    "NOTIFY_PORT": "forwarder",
    "SIMULATOR_PORT": "simulator",
    "SHOP_PORT": "shop",
    "AWS_PORT": "emulator",
    "SIMULATOR_TLS_PORT": "simulator",
    "FAULTS_PORT": "faults",
}
# The merchant's accounts, of which the first is the stack's own.
ACCOUNTS = {
    "WECHAT_APP_ID": "official_account",
    "WECHAT_MOBILE_APP_ID": "mobile_app",
    "WECHAT_MINI_APP_ID": "mini_program",
}
# In the order in which they start; they stop in the reverse one.
PROCESSES = ("emulator", "faults", "forwarder", "simulator", "shop")
DEPLOYED = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


class Settings:
    """What the environment can say about a stack (`python3 infra/local --help` lists it)."""

    def __init__(self, name: str):
        given = os.environ.get
        first = FIRST_PORTS.get(name, 8800)
        self.has_faults = name == "chaos"
        self.ports = {
            setting: int(given(setting, first + index))
            for index, (setting, process) in enumerate(PORTS.items())
            if process != "faults" or self.has_faults
        }
        self.hub = self._url("HUB_PORT")
        self.notify = self._url("NOTIFY_PORT")
        self.simulator = self._url("SIMULATOR_PORT")
        self.shop = self._url("SHOP_PORT")
        self.aws = self._url("AWS_PORT")
        # Chaos reaches AWS through a wire that fails to order.
        self.aws_of_functions = self._url("FAULTS_PORT") if self.has_faults else self.aws
        self.pay_base = given("WECHAT_API_BASE", f"https://127.0.0.1:{self.ports['SIMULATOR_TLS_PORT']}")
        self.oauth_base = given("WECHAT_OAUTH_BASE", self.simulator)
        self.sign_type = given("WECHAT_SIGN_TYPE", "HMAC-SHA256")
        self.api_version = given("WECHAT_API_VERSION", "3")
        self.schedule = given("RETRY_SCHEDULE", SCHEDULES.get(name, SCHEDULES["demo"]))
        self.log_level = given("LOG_LEVEL", "info")

    def _url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def parameters(self, keys: dict) -> dict:
        return {
            "WechatAppId": keys["WECHAT_APP_ID"],
            "WechatMchId": keys["WECHAT_MCH_ID"],
            "WechatSignType": self.sign_type,
            "WechatApiVersion": self.api_version,
            "WechatPayBase": self.pay_base,
            "WechatOauthBase": self.oauth_base,
            "WechatOpenBase": self.oauth_base,
            "PublicUrl": self.hub,
            "NotifyUrl": self.notify + "/",
            # A test's browser names the address it comes from: here all are 127.0.0.1.
            "PayerAddressHeader": "X-Payer-Address",
            "MpVerifyCodes": MP_VERIFY_CODE,
            "RetrySchedule": self.schedule,
            "DoorbellGraceSeconds": "5",
            "CallbackAllowedNetworks": "127.0.0.0/8",
            # Tests change merchants, and nobody waits for minutes.
            "CredentialsFreshSeconds": "2",
            # A part of the tests' usual price needs one person, the whole two.
            "RefundConfirmAbove": "1500",
            # Nobody waits at this till.
            "MicropayQuerySeconds": "2",
            "Architecture": {"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "LogLevel": self.log_level,
        }


class Stack:
    def __init__(self, name: str, iam: bool = True):
        self.name = name
        self.settings = Settings(name)
        self.iam = iam
        self.folder = LOCAL / name
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        self.tls = self.folder / "tls"
        self._lock()
        self.daemons = Daemons(self.folder)
        self.stack_name = f"hub-{name}"
        self.env_file = LOCAL / "hub.env" if name == "demo" else self.folder / "hub.env"

    def _lock(self) -> None:
        """One command at a time, until this one ends or lets go."""
        self.lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step(f"Waiting for another command on the stack {self.name}")
            fcntl.flock(self.lock, fcntl.LOCK_EX)

    def up(self) -> None:
        self._check_ports()
        keys = self.keys()
        tls.prepare(self.tls, keys["WECHAT_MCH_ID"])
        self._start_emulator()
        self._start_faults()
        outputs = self._deploy(keys)
        self._configure(outputs, keys)
        values = self._hub_env(outputs, keys)
        self._start_forwarder(outputs)
        self._start_simulator(keys)
        values |= self._fill_in_version_3(outputs, keys)
        self._start_shop(keys)
        self._import_certificate(values)
        self._register_accounts(values)
        self._register_app(values)
        for path in {self.env_file, self.folder / "hub.env"}:
            write_private(path, "".join(f"{key}={value}\n" for key, value in values.items()).encode())
        step(f"Up. Addresses and keys are in {self.env_file.relative_to(ROOT)}")

    def down(self) -> None:
        stopped = [name for name in reversed(PROCESSES) if self.daemons.stop(name)]
        for path in (self.env_file, self.folder / "hub.env", self.folder / "deployed.json"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.folder / "tmp", ignore_errors=True)
        step(f"Stopped {', '.join(stopped)}" if stopped else f"Nothing of {self.name} was running")

    def status(self) -> None:
        used = {PORTS[setting] for setting in self.settings.ports}
        for name in (name for name in PROCESSES if name in used):
            print(f"{name:10} {'running' if self.daemons.alive(name) else 'stopped'}")

    def _check_ports(self) -> None:
        """Before the minutes of work that a foreign program on one would waste."""
        for setting, port in self.settings.ports.items():
            if not self.daemons.alive(PORTS[setting]) and reachable(port):
                raise Missing(f"Port {port} is taken by another program: set {setting} to a free one.")

    def keys(self) -> dict:
        """Made once per stack, so that `down` and `up` leave them as they were."""
        path = self.folder / "keys.json"
        keys = json.loads(path.read_text()) if path.exists() else {}
        letters = string.ascii_letters + string.digits
        for key, length in (
            ("WECHAT_API_KEY", 32),
            ("WECHAT_API_V3_KEY", 32),
            ("WECHAT_APP_SECRET", 32),
            ("WECHAT_SERVER_TOKEN", 32),
            ("WECHAT_APP_KEY", 128),
            ("HUB_APP_ID", 16),
            ("HUB_APP_SECRET", 32),
        ):
            keys.setdefault(key, "".join(secrets.choice(letters) for _ in range(length)))
        for account in ACCOUNTS:
            keys.setdefault(account, "wx" + secrets.token_hex(8))
        keys.setdefault("WECHAT_MCH_ID", "1900000109")
        write_private(path, json.dumps(keys, indent=1).encode())
        return {key: os.environ.get(key, value) for key, value in keys.items()}

    def _clean_env(self) -> dict:
        """Functions inherit the emulator's environment, and SAM reads the
        user's AWS settings: neither may see the caller's."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.settings.aws,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "SAM_CLI_TELEMETRY": "0",
            **AWS_ACCESS,
        }

    def _client(self, service: str):
        return boto3.client(
            service, endpoint_url=self.settings.aws, region_name=AWS_ACCESS["AWS_REGION"],
            aws_access_key_id=AWS_ACCESS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=AWS_ACCESS["AWS_SECRET_ACCESS_KEY"],
        )  # fmt: skip

    def _start_emulator(self) -> None:
        command = [environment("stack") / "python", ROOT / "infra/local/emulator.py"]
        trusted = self.tls / "trusted.pem"
        port = self.settings.ports["AWS_PORT"]
        env = self._clean_env() | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "AUTH": str(self.iam).lower(),
            "LOG_LEVEL": "WARNING",
            # These two are for the functions, which inherit them.
            "AWS_ENDPOINT_URL": self.settings.aws_of_functions,
            "SSL_CERT_FILE": str(trusted),
        }
        if self.daemons.alive("emulator") and self._stack_status() not in DEPLOYED:
            step("The last deploy did not finish: starting with an empty emulator")
            self.daemons.stop("emulator")
        self.daemons.ensure("emulator", command, env, port, digest_of(trusted))

    def _start_faults(self) -> None:
        if not self.settings.has_faults:
            return
        port = self.settings.ports["FAULTS_PORT"]
        config = self.folder / "faults.json"
        # JSON is YAML; the rules come later, over the wire's own API.
        config.write_text(json.dumps({"upstream": self.settings.aws, "port": port, "rules": []}))
        command = [environment("stack") / "microburst", "--config", config]
        self.daemons.ensure("faults", command, self._clean_env(), port)

    def _stack_status(self) -> str:
        try:
            stacks = self._client("cloudformation").describe_stacks(StackName=self.stack_name)
        except Exception:
            return "ABSENT"
        return stacks["Stacks"][0]["StackStatus"]

    def _deploy(self, keys: dict) -> dict:
        parameters = self.settings.parameters(keys)
        template = self._stage()
        emulator = self.daemons.known["emulator"]
        wanted = hashlib.sha256(json.dumps([parameters, emulator["pid"], emulator["started"]]).encode())
        wanted.update(template.read_bytes())
        for name in FUNCTIONS:
            wanted.update((self.folder / "functions" / name / "bootstrap").read_bytes())
        done = self.folder / "deployed.json"
        if done.exists() and json.loads(done.read_text()).get("digest") == wanted.hexdigest():
            return json.loads(done.read_text())["outputs"]
        bin_folder = environment("sam")
        step("Deploying template.yaml with sam deploy")
        self._client("s3").create_bucket(Bucket=BUCKET)
        log = self.folder / "deploy.log"
        with log.open("w") as out:
            code = subprocess.run(
                [
                    bin_folder / "sam", "deploy", "--template-file", template, "--stack-name", self.stack_name,
                    "--s3-bucket", BUCKET, "--capabilities", "CAPABILITY_IAM", "--no-progressbar",
                    "--no-confirm-changeset", "--no-fail-on-empty-changeset", "--parameter-overrides",
                    *(f"ParameterKey={key},ParameterValue={value}" for key, value in parameters.items()),
                ],
                env=self._clean_env(), cwd=self.folder, stdout=out, stderr=out,
            ).returncode  # fmt: skip
        if code:
            raise Missing("sam deploy failed:\n" + "\n".join(log.read_text().splitlines()[-40:]))
        described = self._client("cloudformation").describe_stacks(StackName=self.stack_name)
        outputs = {item["OutputKey"]: item["OutputValue"] for item in described["Stacks"][0]["Outputs"]}
        done.write_text(json.dumps({"digest": wanted.hexdigest(), "outputs": outputs}, indent=1))
        return outputs

    def _stage(self) -> Path:
        """template.yaml as `sam build` leaves it, with each CodeUri the folder
        of its built binary; built here by cargo for this machine instead."""
        text = (ROOT / "template.yaml").read_text()
        text = re.sub(r"(?m)^(\s+CodeUri: )functions/", rf"\g<1>{self.folder}/functions/", text)
        for name in FUNCTIONS:
            folder = self.folder / "functions" / name
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy2(BINARIES / name, folder / "bootstrap")
        template = self.folder / "template.yaml"
        template.write_text(text)
        return template

    def _configure(self, outputs: dict, keys: dict) -> None:
        """What the emulator drops from the template, and what an operator fills in."""
        dynamodb = self._client("dynamodb")
        table = outputs["RegistryTable"]
        ttl = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]
        if ttl.get("TimeToLiveStatus") != "ENABLED":
            dynamodb.update_time_to_live(
                TableName=table, TimeToLiveSpecification={"AttributeName": "expires_at", "Enabled": True}
            )
        manager = self._client("secretsmanager")
        for output, names in (
            ("WechatSecretName", ("api_key", "app_key")),
            ("WechatAccountSecretName", ("app_secret", "server_token")),
        ):
            secret = json.dumps({name: keys[f"WECHAT_{name.upper()}"] for name in names})
            self._put_secret(manager, outputs[output], secret)

    def _fill_in_version_3(self, outputs: dict, keys: dict) -> dict:
        """The credentials of APIv3, and what testers are told of them. WeChat's
        public key is the simulator's, or that of another gateway."""
        mch_id = keys["WECHAT_MCH_ID"]
        public_key = os.environ.get("WECHAT_PUBLIC_KEY", str(self.folder / "wechat" / f"{mch_id}-public.pem"))
        public_key_id = os.environ.get("WECHAT_PUBLIC_KEY_ID", f"PUB_KEY_ID_01{mch_id:0>30}")
        serial = tls.serial(self.tls)
        secret = {
            "api_v3_key": keys["WECHAT_API_V3_KEY"],
            "serial_no": serial,
            "private_key": (self.tls / "apiclient_key.pem").read_text(),
            "public_key_id": public_key_id,
            "public_key": Path(public_key).read_text(),
        }
        self._put_secret(self._client("secretsmanager"), outputs["WechatV3SecretName"], json.dumps(secret))
        return {
            "WECHAT_MCH_SERIAL": serial,
            "WECHAT_MCH_CERTIFICATE": str(self.tls / "apiclient_cert.pem"),
            "WECHAT_PUBLIC_KEY_ID": public_key_id,
            "WECHAT_PUBLIC_KEY": public_key,
        }

    @staticmethod
    def _put_secret(manager, name: str, secret: str) -> None:
        if manager.get_secret_value(SecretId=name)["SecretString"] != secret:
            manager.put_secret_value(SecretId=name, SecretString=secret)

    def _start_forwarder(self, outputs: dict) -> None:
        # The emulator knows these names by their first labels and a port is no part of them.
        api, notify = (urlsplit(outputs[key]).netloc for key in ("ApiUrl", "NotifyUrl"))
        ports = self.settings.ports
        program = ROOT / "infra/local/forwarder.py"
        self.daemons.ensure(
            "forwarder",
            [environment("stack") / "python", program, self.settings.aws,
             f"{ports['HUB_PORT']}={api}", f"{ports['NOTIFY_PORT']}={notify}"],
            self._clean_env(), ports["HUB_PORT"], digest_of(program),
        )  # fmt: skip

    def _start_simulator(self, keys: dict) -> None:
        binary = BINARIES / "wechat-simulator"
        ports = self.settings.ports
        names = ("WECHAT_APP_ID", "WECHAT_APP_SECRET", "WECHAT_MCH_ID", "WECHAT_API_KEY", "WECHAT_API_V3_KEY")
        env = {key: keys[key] for key in names}
        accounts = self.folder / "accounts.json"
        known = [
            {"app_id": keys[name], "kind": kind, "secret": keys["WECHAT_APP_SECRET"], "merchants": [keys["WECHAT_MCH_ID"]]}
            for name, kind in ACCOUNTS.items()
            # The first is of every kind at the simulator: apps may know no other.
            if name != "WECHAT_APP_ID"
        ]
        write_private(accounts, json.dumps({"merchants": [], "accounts": known}).encode())
        env |= {
            "SIMULATOR_ACCOUNTS": str(accounts),
            "WECHAT_PAY_SIGN_KEY": keys["WECHAT_APP_KEY"],
            "SIMULATOR_PORT": str(ports["SIMULATOR_PORT"]),
            "SIMULATOR_TLS_PORT": str(ports["SIMULATOR_TLS_PORT"]),
            "SIMULATOR_TLS_DIR": str(self.tls),
            "SIMULATOR_URL": self.settings.simulator,
            "SIMULATOR_H5_DOMAINS": urlsplit(self.settings.hub).netloc,
            "SIMULATOR_KEYS_DIR": str(self.folder / "wechat"),
            "WECHAT_MCH_CERTIFICATE": str(self.tls / "apiclient_cert.pem"),
            "WECHAT_SIGN_TYPE": self.settings.sign_type,
            # Milliseconds for a second, so that a second stands for a minute here too.
            "NOTIFY_TIME_SCALE": os.environ.get("NOTIFY_TIME_SCALE", "17"),
        }
        mark = digest_of(binary) + digest_of(self.tls / "server.pem") + digest_of(accounts)
        self.daemons.ensure("simulator", [binary], env, ports["SIMULATOR_PORT"], mark)

    def _start_shop(self, keys: dict) -> None:
        binary = BINARIES / "demo-shop"
        port = self.settings.ports["SHOP_PORT"]
        env = {key: keys[key] for key in ("HUB_APP_ID", "HUB_APP_SECRET")}
        env |= {"SHOP_PORT": str(port), "SHOP_URL": self.settings.shop, "HUB_URL": self.settings.hub}
        self.daemons.ensure("shop", [binary], env, port, digest_of(binary))

    def _import_certificate(self, values: dict) -> None:
        p12 = self.tls / "apiclient_cert.p12"
        mark = f"{values['WECHAT_CERTIFICATE_NAME']} {digest_of(p12)}"
        self._hubctl_once("certificate", mark, values, "credentials", "import", values["WECHAT_MCH_ID"], "--p12", p12)

    def _register_accounts(self, values: dict) -> None:
        """All with one secret, and the app with all of them."""
        secret = self.folder / "app_secret.txt"
        write_private(secret, values["WECHAT_APP_SECRET"].encode())
        for name, kind in ACCOUNTS.items():
            mark = f"{values['REGISTRY_TABLE']} {values[name]}"
            self._hubctl_once(
                kind, mark, values, "account", "create", values[name], "--kind", kind,
                "--merchant", values["WECHAT_MCH_ID"],
            )  # fmt: skip
            mark += f" {digest_of(secret)}"
            if name != "WECHAT_APP_ID":
                self._hubctl_once(
                    f"{kind}-secret", mark, values, "credentials", "import-account", values[name], "--app-secret", secret,
                )  # fmt: skip

    def _register_app(self, values: dict) -> None:
        mark = f"{values['REGISTRY_TABLE']} {values['HUB_APP_ID']} {' '.join(values[name] for name in ACCOUNTS)}"
        self._hubctl_once(
            "registered", mark, values, "app", "create", "--app-id", values["HUB_APP_ID"],
            "--app-secret", values["HUB_APP_SECRET"], "--allow-http", "--site", self.settings.shop + "/",
            *(part for name in ACCOUNTS for part in ("--account", values[name])),
        )  # fmt: skip

    def _hubctl_once(self, name: str, mark: str, values: dict, *arguments) -> None:
        """What an operator does once; again only for another emulator or `mark`."""
        done = self.folder / name
        mark += f" {self.daemons.known['emulator']['started']}"
        if has(done, mark):
            return
        step(f"hubctl {arguments[0]} {arguments[1]}")
        ran = subprocess.run(
            [BINARIES / "hubctl", *arguments], env=self._clean_env() | values, capture_output=True, text=True,
        )  # fmt: skip
        if ran.returncode:
            raise Missing(f"hubctl {arguments[0]} {arguments[1]} failed: {ran.stderr.strip()}")
        done.write_text(mark)

    def _hub_env(self, outputs: dict, keys: dict) -> dict:
        """What scripts, the operator's tool and the journeys are told."""
        values = {
            "HUB_URL": self.settings.hub,
            "HUB_NOTIFY_URL": self.settings.notify + "/",
            "SIMULATOR_URL": self.settings.simulator,
            "SHOP_URL": self.settings.shop,
            # Signing the way of 2014 is the functions' and the simulator's matter.
            **{key: value for key, value in keys.items() if key != "WECHAT_APP_KEY"},
            "WECHAT_SIGN_TYPE": self.settings.sign_type,
            "WECHAT_API_VERSION": self.settings.api_version,
            "WECHAT_PAY_BASE": self.settings.pay_base,
            "WECHAT_OAUTH_BASE": self.settings.oauth_base,
            # Whoever asks WeChat from here must trust the simulator: hubctl merchant check.
            "SSL_CERT_FILE": str(self.tls / "trusted.pem"),
            "MP_VERIFY_CODE": MP_VERIFY_CODE,
            "RETRY_SCHEDULE": self.settings.schedule,
            "AWS_ENDPOINT_URL": self.settings.aws,
            **AWS_ACCESS,
            "STACK_NAME": self.stack_name,
        }
        if self.settings.has_faults:
            values["FAULTS_URL"] = self.settings.aws_of_functions
        for key, value in outputs.items():
            if key not in ("ApiUrl", "NotifyUrl"):
                values[re.sub(r"(?<!^)(?=[A-Z])", "_", key).upper()] = value
        return values


@contextlib.contextmanager
def running(name: str, iam: bool = True) -> Iterator[Stack]:
    """A freshly built stack for one run, taken down whatever happened in it."""
    build()
    stack = Stack(name, iam)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        # Whoever runs a stack of this name next would wait for as long as this one is known.
        stack.lock.close()
