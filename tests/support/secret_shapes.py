"""Secrets of many shapes, as they are written in files, and what merely looks like them.

None is real. Each is put together when it is asked for, from a prefix and characters drawn by a fixed seed, so that
this file holds nothing that a scanner of repositories would report.
"""

from __future__ import annotations

import base64
import json
import random
import string
from dataclasses import dataclass

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
ALNUM, HEX = LOWER + UPPER + DIGITS, DIGITS + "abcdef"


@dataclass(frozen=True)
class Shape:
    """A line with a secret, the file it is in, and the part that must not be seen again."""

    name: str
    path: str
    line: str
    secret: str


def draw(characters: str, count: int, seed: str) -> str:
    return "".join(random.Random(seed).choices(characters, k=count))


def tokens() -> dict[str, str]:
    """Keys that are recognised by themselves."""

    def jwt() -> str:
        parts = ({"alg": "HS256", "typ": "JWT"}, {"sub": "12345", "name": "A Person"})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return ".".join([*encoded, draw(ALNUM + "-_", 43, "jwt")])

    plans = {
        "aws access key": ("AK" + "IA", UPPER + DIGITS, 16),
        "aws session key": ("AS" + "IA", UPPER + DIGITS, 16),
        "github personal": ("gh" + "p_", ALNUM, 36),
        "github oauth": ("gh" + "o_", ALNUM, 36),
        "github app": ("gh" + "s_", ALNUM, 36),
        "github fine-grained": ("github" + "_pat_", ALNUM, 82),
        "gitlab personal": ("gl" + "pat-", ALNUM, 20),
        "gitlab runner": ("gl" + "rt-", ALNUM, 20),
        "gitlab trigger": ("gl" + "ptt-", HEX, 40),
        "slack webhook": ("https://hooks.slack" + ".com/services/T", UPPER + DIGITS, 9),
        "slack app": ("xapp" + "-1-A0123-1234567890-", HEX, 32),
        "stripe live": ("sk" + "_live_", ALNUM, 24),
        "stripe restricted": ("rk" + "_live_", ALNUM, 24),
        "stripe test": ("sk" + "_test_", ALNUM, 24),
        "stripe webhook": ("wh" + "sec_", ALNUM, 32),
        "google api": ("AI" + "za", ALNUM + "-_", 35),
        "google oauth secret": ("GOC" + "SPX-", ALNUM, 28),
        "google access token": ("ya" + "29.", ALNUM, 60),
        "npm": ("np" + "m_", ALNUM, 36),
        "pypi": ("py" + "pi-AgEIcHlwaS5vcmc", ALNUM, 80),
        "anthropic": ("sk-" + "ant-api03-", ALNUM, 80),
        "openai project": ("sk-" + "proj-", ALNUM, 48),
        "sk": ("sk" + "-", HEX, 32),
        "huggingface": ("h" + "f_", LOWER + UPPER, 34),
        "groq": ("gs" + "k_", ALNUM, 52),
        "replicate": ("r" + "8_", ALNUM, 37),
        "digitalocean": ("do" + "p_v1_", HEX, 64),
        "databricks": ("da" + "pi", HEX, 32),
        "shopify": ("shp" + "at_", HEX, 32),
        "linear": ("lin" + "_api_", ALNUM, 40),
        "vault": ("hv" + "s.", ALNUM, 90),
        "age": ("AGE-SECRET" + "-KEY-1", UPPER + DIGITS, 58),
        "square": ("sq0" + "csp-", ALNUM, 43),
        "square token": ("sq0" + "atp-", ALNUM, 22),
        "sendgrid": ("S" + "G.", ALNUM, 22),
        "twilio": ("S" + "K", HEX, 32),
        "mailgun": ("ke" + "y-", HEX, 32),
        "mailchimp": ("", HEX, 32),
        "telegram": ("12345" + "6789:", ALNUM, 35),
        "discord": ("M", ALNUM, 23),
        "docker": ("dckr" + "_pat_", ALNUM, 27),
        "grafana": ("gl" + "sa_", ALNUM, 32),
        "rubygems": ("ruby" + "gems_", HEX, 48),
        "postman": ("PM" + "AK-", HEX, 24),
        "new relic": ("NR" + "AK-", UPPER + DIGITS, 27),
        "artifactory": (" AK" + "C", ALNUM, 70),
        "terraform cloud": ("abcdef12345678.atlas" + "v1.", ALNUM, 67),
        "azure storage": ("Account" + "Key=", ALNUM + "+/", 88),
        "azure bus": ("SharedAccess" + "Key=", ALNUM + "+/", 44),
        "azure signature": ("https://x.blob/c?sv=2024&si" + "g=", ALNUM, 44),
    }
    endings = {
        "slack webhook": "/B12345678/" + draw(ALNUM, 24, "hook"),
        "sendgrid": "." + draw(ALNUM, 43, "grid"),
        "mailchimp": "-us12",
        "discord": "." + draw(ALNUM, 6, "d1") + "." + draw(ALNUM, 27, "d2"),
        "grafana": "_" + draw(HEX, 8, "g"),
        "postman": "-" + draw(HEX, 34, "p"),
    }
    found = {
        name: start + draw(chars, count, name) + endings.get(name, "") for name, (start, chars, count) in plans.items()
    }
    found["jwt"] = jwt()
    found["openai legacy"] = "sk-" + draw(ALNUM, 20, "o1") + "T3Blbk" + "FJ" + draw(ALNUM, 20, "o2")
    found["slack bot"] = "xo" + "xb-123456789012-1234567890123-" + draw(ALNUM, 24, "slack")
    return found


FORMATS = {
    "settings.py": 'client = Client("{}")',
    "app.ts": "const client = new Client('{}');",
    "main.go": "client := New(`{}`)",
    "config.yaml": "value: {}",
    "app.properties": "service.value={}",
    "deploy.sh": 'export VALUE="{}"',
    "data.json": '  "value": "{}",',
    "README.md": "Run it with `{}` as an argument.",
}


def passwords() -> list[tuple[str, str, str]]:
    """Path, line and value of secrets that are recognised by what is around them."""
    word, key = "Tr0ub4" + "dor&3x", draw(ALNUM + "+/", 40, "aws secret")
    url, hexes, plain = "p4ss" + "w0rd%21", draw(HEX, 40, "hex"), "hunter2" + "hunter"
    return [
        ("db.py", f'DATABASE = "postgres://app:{url}@db.internal:5432/app"', url),
        ("db.js", f"mongoose.connect('mongodb+srv://root:{word}@cluster0.mongodb.net')", word),
        ("a.yaml", f"broker: amqp://worker:{plain}@rabbit:5672//", plain),
        ("pip.conf", f"index-url = https://user:{plain}@packages.internal/simple", plain),
        ("a.cs", f'var c = "Server=db;Database=app;User Id=sa;Password={word};Encrypt=yes";', word),
        ("a.cs", f'var c = "Data Source=db;Uid=sa;Pwd={plain};";', plain),
        ("a.py", f'connect("host=db user=app password={plain} dbname=x")', plain),
        ("curl.sh", f"curl -H 'Authorization: Bearer {hexes}' https://api.internal", hexes),
        ("api.ts", f"headers: {{ Authorization: 'Basic {key}' }}", key),
        ("api.py", f'headers["Authorization"] = "token {hexes}"', hexes),
        ("api.rb", f'token = "Bearer {hexes}"', hexes),
        ("aws.ini", f"aws_secret_access_key = {key}", key),
        ("aws.py", f'AWS_SECRET_ACCESS_KEY = "{key}"', key),
        ("deploy.sh", f"export AWS_SECRET_ACCESS_KEY={key}", key),
        ("Main.java", f'String awsSecretKey = "{key}";', key),
        ("backup.sh", f"curl -u admin:{plain} https://backup.internal/run", plain),
        ("backup.sh", f"sshpass -p {plain} ssh root@backup", plain),
        ("notes.md", f"machine api.internal login me password {plain}", plain),
        ("npm.ini", f"//registry.internal/:_authToken={draw(HEX, 36, 'npm')}", draw(HEX, 36, "npm")),
        ("npm.ini", f"_password={plain}", plain),
        ("docker.json", f'"auths": {{"r.internal": {{"auth": "{key}"}}}}', key),
        ("settings.py", f'SECRET_KEY = "{draw(ALNUM + "!@#$%&", 50, "django")}"', draw(ALNUM + "!@#$%&", 50, "django")),
        ("settings.py", f"password: str = '{word}'", word),
        ("settings.py", f'os.environ["API_KEY"] = "{hexes}"', hexes),
        ("settings.py", f'key = os.getenv("STRIPE_API_KEY", "{hexes}")', hexes),
        ("a.go", f'apiKey := "{hexes}"', hexes),
        ("a.go", f"\tPassword: `{word}`,", word),
        ("a.rs", f'const AUTH_TOKEN: &str = "{hexes}";', hexes),
        ("a.c", f'#define API_KEY "{hexes}"', hexes),
        ("a.c", f'char password[32] = "{word}";', word),
        ("a.cpp", f'request.setPassword("{word}");', word),
        ("a.php", f"'db_password' => '{word}',", word),
        ("a.kt", f'val clientSecret = "{hexes}"', hexes),
        ("a.js", f'const secret = process.env.SECRET || "{hexes}";', hexes),
        ("a.yaml", f"password: {plain}", plain),
        ("a.yaml", f"  db_password: '{plain}'  # of the old server", plain),
        ("a.properties", f"spring.datasource.password={plain}", plain),
        ("a.toml", f'api_token = "{hexes}"', hexes),
        ("Dockerfile", f"ENV DB_PASSWORD={plain}", plain),
        ("a.xml", f"<password>{plain}</password>", plain),
        ("web.config.xml", f'<add key="ApiSecret" value="{hexes}"/>', hexes),
        ("a.tf", f'  master_password = "{word}"', word),
        ("a.tsx", f"<Map accessToken='{draw(ALNUM, 60, 'map')}' />", draw(ALNUM, 60, "map")),
    ]


def shapes() -> list[Shape]:
    """Every secret in some format; a token in all of them over the whole set, each in two."""
    found = []
    formats = list(FORMATS.items())
    for number, (name, token) in enumerate(tokens().items()):
        for path, line in (formats[number % len(formats)], formats[(number + 3) % len(formats)]):
            found.append(Shape(f"{name} in {path}", path, line.format(token), token.strip()))
    found += [Shape(f"{line.split('=')[0][:30]} in {path}", path, line, value) for path, line, value in passwords()]
    return found


def private_keys() -> dict[str, str]:
    """Blocks of several lines."""
    body = [draw(ALNUM + "+/", 64, f"line {number}") for number in range(6)] + [draw(ALNUM, 30, "last") + "=="]
    found = {}
    for kind in ("RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ", ""):
        found[f"{kind}PEM"] = "\n".join(
            [f"-----BEGIN {kind}PRIVATE " + "KEY-----", *body, f"-----END {kind}PRIVATE KEY-----"]
        )
    headers = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,0123", ""]
    found["with headers"] = "\n".join(
        ["-----BEGIN RSA PRIVATE " + "KEY-----", *headers, *body, "-----END RSA PRIVATE KEY-----"]
    )
    found["PGP"] = "\n".join(
        [
            "-----BEGIN PGP PRIVATE " + "KEY BLOCK-----",
            "Version: 1",
            "",
            *body,
            "=abcd",
            "-----END PGP PRIVATE KEY BLOCK-----",
        ]
    )
    found["PuTTY"] = "\n".join(
        ["PuTTY-User-Key-" + "File-3: ssh-rsa", "Encryption: none", "Private-Lines: 7", *body, "Private-MAC: 00"]
    )
    quoted = [f'    "{line}\\n"' for line in body]
    found["in C"] = "\n".join(
        ['const char *k = "-----BEGIN PRIVATE ' + 'KEY-----\\n"', *quoted, '    "-----END PRIVATE KEY-----\\n";']
    )
    joined = [f'    "{line}" +' for line in body]
    found["in Java"] = "\n".join(
        ['String k = "-----BEGIN PRIVATE ' + 'KEY-----" +', *joined, '    "-----END PRIVATE KEY-----";']
    )
    found["in YAML"] = "\n".join(
        ["key: |", "  -----BEGIN PRIVATE " + "KEY-----", *(f"  {line}" for line in body), "  -----END PRIVATE KEY-----"]
    )
    found["cut off"] = "\n".join(["-----BEGIN PRIVATE " + "KEY-----", *body])
    return found


LOOK_ALIKES = [
    ("a.py", 'request_id = "123e4567-e89b-12d3-a456-426614174000"'),
    ("a.py", 'COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"'),
    ("lock.py", '"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",'),
    (
        "yarn.ts",
        'integrity: "sha512-oRjTw/97aTBN0RHbYCdtF1MQfvusSIBQM0IZEgzl6426+8jSC0nF1a/GmnVLpfB9yyr6g6FTqWqiZVbxrtaCIg=="',
    ),
    ("a.py", 'API_KEY = "YOUR_API_KEY"'),
    ("a.py", 'api_key = os.environ["API_KEY"]'),
    ("a.py", 'api_key = os.getenv("API_KEY")'),
    ("a.py", 'password = input("Password: ")'),
    ("a.py", "password = get_password()"),
    ("a.py", 'password = "changeme"'),
    ("a.py", 'password_hash = hashlib.sha256(salt + b"a1b2c3d4").hexdigest()'),
    ("a.py", 'token_url = "https://login.example.com/oauth2/token"'),
    ("a.py", 'TOKEN_TYPE = "bearer"'),
    ("a.py", 'tokens = ["if", "else", "while"]'),
    ("a.py", "self.token = token"),
    ("a.py", "connect(user=user, password=password, netloc=netloc)"),
    ("a.py", "TOKEN_CERTS = 'https://www.internal/oauth2/v1/certs'"),
    ("a.py", 'raise ValueError("password must not be empty")'),
    ("a.py", 'parser.add_argument("--password", help="the password")'),
    ("a.py", 'headers = {"Authorization": f"Bearer {token}"}'),
    ("a.py", 'url = f"https://{user}:{password}@{host}/"'),
    ("a.py", 'url = "https://user:password@example.com/"'),
    ("a.py", 'SECRET_NAME = "projects/1/secrets/db"'),
    ("a.js", "const key = items.map(item => item.key);"),
    ("a.js", "const token = req.headers['x-access-token'];"),
    ("a.js", "const apiKey = process.env.API_KEY;"),
    ("a.js", "import Token from './token-v2';"),
    ("a.ts", "password: string;"),
    ("a.go", 'token := r.Header.Get("X-Token")'),
    ("a.go", "case token.LPAREN:"),
    ("a.java", 'private static final String PASSWORD_KEY = "password";'),
    ("a.java", '@Value("${spring.datasource.password}")'),
    ("a.c", 'static const char *token_names[] = {"LPAREN", "RPAREN"};'),
    ("a.yaml", "password: ${DB_PASSWORD}"),
    ("a.yaml", "password: {{ vault_db_password }}"),
    ("a.yaml", "secretName: my-app-tls"),
    ("a.yaml", "token: <your token here>"),
    ("a.yaml", "passwordSecretRef:"),
    ("a.tf", "  password = var.db_password"),
    ("a.sh", 'PASSWORD="$1"'),
    ("a.sh", "TOKEN=$(cat /run/token)"),
    ("a.css", "background: url(data:image/png;base64,iVBORw0KGgo=);"),
    ("a.md", "Set `API_KEY` to your key."),
    ("a.rs", "let key: PrivateKey = PrivateKey::from_pem(&pem)?;"),
    ("a.py", 'color_tokens = {"primary": "#1a2b3c4d"}'),
    ("a.py", 'KEY = "abcdefghijklmnopqrstuvwxyz0123456789"'),
    ("a.py", "sk-learn is imported as sklearn; task-1234567890 is not a key"),
]
