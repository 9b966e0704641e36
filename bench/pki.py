"""The certificates of a run: made by openssl in the scratch folder, worth nothing outside of it.

One folder per kind of key. `ca.pem` vouches for all; `origin`, `proxy` (server and client in one, as apim-proxy uses its
own) and `client` each are `NAME.crt`, `NAME.key` and both in `NAME.pem`.
"""

import subprocess

KEYS = {"rsa": ["rsa:2048"], "ec": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:named_curve"]}
USES = {"origin": "serverAuth", "proxy": "serverAuth,clientAuth", "client": "clientAuth"}
CONF = """[req]
prompt = no
distinguished_name = name
[name]
O = apim-proxy benchmark
OU = test key, trust nowhere
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = {use}
subjectAltName = DNS:localhost,IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def make(folder):
    """Makes both kinds in subfolders of `folder`."""
    for kind, key in KEYS.items():
        (folder / kind).mkdir(parents=True)
        _certificate(folder / kind, "ca", key, "ca", [])
        for name in USES:
            _certificate(folder / kind, name, key, "leaf", ["-CA", "ca.crt", "-CAkey", "ca.key"])


def _certificate(folder, name, key, extensions, issuer):
    (folder / f"{name}.cnf").write_text(CONF.format(name=name, use=USES.get(name, "anyExtendedKeyUsage")))
    command = ["openssl", "req", "-x509", "-config", f"{name}.cnf", "-extensions", extensions, "-days", "30", "-sha256",
               "-newkey", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt", *issuer]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    parts = ["crt"] if name == "ca" else ["crt", "key"]
    (folder / f"{name}.pem").write_text("".join((folder / f"{name}.{part}").read_text() for part in parts))
