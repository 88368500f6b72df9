"""The Python relying party `authlib`: code flow with state and nonce, client_credentials, private_key_jwt.

`authlib_client.py new-key FILE` makes a key, writes it to FILE and prints the public JWK Set;
otherwise the settings are one JSON object in RELYING_PARTY: issuer, clientId, clientSecret,
redirectUri, user, password, and optionally service and keyService with a clientId and a
clientSecret or a keyFile.
"""

import html.parser
import json
import os
import sys
import time
from urllib.parse import parse_qs, urljoin, urlsplit

import requests
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet


def check(name, body):
    """Runs one check; prints `ok NAME`, or `not ok NAME: why` and ends the program."""
    try:
        result = body()
    except Exception as error:  # whatever went wrong belongs on the line
        print(f"not ok {name}: {type(error).__name__}: {error}")
        sys.exit(1)
    print(f"ok {name}")
    return result


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


class Forms(html.parser.HTMLParser):
    """The forms of a page: action, fields with values, names of buttons."""

    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        if tag == "form":
            self.forms.append({"action": values.get("action", ""), "fields": {}, "buttons": set()})
        elif tag == "input" and self.forms and "name" in values:
            self.forms[-1]["fields"][values["name"]] = values.get("value", "")
        elif tag == "button" and self.forms and "name" in values:
            self.forms[-1]["buttons"].add(values["name"])


def sign_in(url, settings):
    """Follows an authorization request through its pages; returns the URL of the application."""
    # Cookies are kept by hand: they are Secure, and on loopback there is no TLS.
    cookies = {}
    data = None
    for _ in range(20):
        answer = requests.request(
            "POST" if data is not None else "GET",
            url,
            data=data,
            headers={"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())},
            allow_redirects=False,
            timeout=20,
        )
        for header in answer.raw.headers.getlist("Set-Cookie"):
            name, _, value = header.split(";")[0].partition("=")
            cookies[name] = value
        data = None
        if answer.is_redirect:
            url = urljoin(url, answer.headers["Location"])
            if url.startswith(settings["redirectUri"]):
                return url
            continue
        page = Forms()
        page.feed(answer.text)
        for form in page.forms:
            if "password" in form["fields"]:
                data = {**form["fields"], "username": settings["user"], "password": settings["password"]}
            elif "decision" in form["buttons"]:
                data = {**form["fields"], "decision": "allow"}
            if data is not None:
                url = urljoin(url, form["action"])
                break
        expect(data is not None, f"{answer.status_code} at {url}: neither a form nor a redirect")
    raise AssertionError("too many steps")


def verified(token, metadata, settings, nonce):
    """The claims of an ID token that joserfc verified with the published keys."""
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=20).json())
    decoded = jwt.decode(token, keys, algorithms=metadata["id_token_signing_alg_values_supported"])
    jwt.JWTClaimsRegistry(
        leeway=5,
        iss={"essential": True, "value": settings["issuer"]},
        aud={"essential": True, "value": settings["clientId"]},
        nonce={"essential": True, "value": nonce},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    ).validate(decoded.claims)
    return decoded.claims


def code_flow(settings, metadata):
    session = OAuth2Session(
        settings["clientId"],
        settings["clientSecret"],
        scope="openid profile email",
        redirect_uri=settings["redirectUri"],
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_" + settings.get("authMethod", "basic"),
    )
    verifier = "v" * 50
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], nonce="a-nonce", code_verifier=verifier
    )
    callback = check("authlib: a person signs in", lambda: sign_in(url, settings))

    def exchange():
        expect(parse_qs(urlsplit(callback).query).get("state") == [state], "another state came back")
        answer = session.fetch_token(
            metadata["token_endpoint"], authorization_response=callback, state=state, code_verifier=verifier
        )
        return verified(answer["id_token"], metadata, settings, "a-nonce")

    claims = check("authlib: exchanges the code, joserfc verifies the ID token", exchange)

    def userinfo():
        answer = session.get(metadata["userinfo_endpoint"], timeout=20)
        expect(answer.status_code == 200, f"status {answer.status_code}")
        expect(answer.json()["sub"] == claims["sub"], "somebody else")

    check("authlib: reads userinfo with the token", userinfo)


def service(settings, metadata):
    """client_credentials with a client secret."""
    session = OAuth2Session(
        settings["service"]["clientId"],
        settings["service"]["clientSecret"],
        token_endpoint_auth_method="client_secret_basic",
    )

    def fetch():
        answer = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
        expect(answer["token_type"].lower() == "bearer", "no bearer token")
        expect("id_token" not in answer and "refresh_token" not in answer, "tokens of a person for a service")

    check("authlib: client_credentials with a secret", fetch)


def key_service(settings, metadata):
    """client_credentials with an assertion signed by the client's own key (RFC 7523 §2.2)."""
    with open(settings["keyService"]["keyFile"], encoding="utf-8") as file:
        key = ECKey.import_key(file.read())
    endpoint = metadata["token_endpoint"]

    def session(key):
        # PrivateKeyJWT makes its assertion for the token endpoint, the common habit of clients. Its
        # default lifetime of an hour is longer than an assertion may live here.
        assertion = PrivateKeyJWT(endpoint, alg="ES256", claims={"exp": int(time.time()) + 120})
        return OAuth2Session(settings["keyService"]["clientId"], key, token_endpoint_auth_method=assertion)

    def fetch():
        answer = session(key).fetch_token(endpoint, grant_type="client_credentials")
        expect(answer["access_token"], "no access token")

    def refuse():
        stranger = ECKey.generate_key("P-256")
        try:
            session(stranger).fetch_token(endpoint, grant_type="client_credentials")
        except OAuthError as error:
            expect(error.error == "invalid_client", f"error {error.error}")
            return
        raise AssertionError("an assertion signed by a stranger's key was accepted")

    check("authlib: client_credentials with private_key_jwt", fetch)
    check("authlib: an assertion of another key is refused", refuse)


def new_key(path):
    key = ECKey.generate_key("P-256", {"kid": "authlib", "use": "sig", "alg": "ES256"})
    with open(path, "w", encoding="utf-8") as file:
        file.write(key.as_pem(private=True).decode())
    print(json.dumps({"keys": [key.as_dict(private=False)]}))


def main():
    if sys.argv[1:2] == ["new-key"]:
        new_key(sys.argv[2])
        return
    settings = json.loads(os.environ["RELYING_PARTY"])
    if settings["issuer"].startswith("http:"):
        os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    address = settings["issuer"] + "/.well-known/openid-configuration"
    metadata = check("authlib: finds the metadata", lambda: requests.get(address, timeout=20).json())
    code_flow(settings, metadata)
    if "service" in settings:
        service(settings, metadata)
    if "keyService" in settings:
        key_service(settings, metadata)


if __name__ == "__main__":
    main()
