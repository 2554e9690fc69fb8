"""Every route asks for the token and the right host, every request has a name, and no fault shows what is behind it."""

import base64
import json
import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from spamctl.serving import access as guard
from spamctl.serving.access import CHALLENGE, ELSEWHERE, HEADERS, INFERENCE, KEYED, OPEN, OPENAI, Access, Guard, Refusal
from spamctl.serving.app import create_app
from tests.each import each
from tests.serving.tiny_service import open_service

TOKEN = "s3cret-tok\u00e9n"
BASE = "http://localhost"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


def basic(password, user="me"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def as_header(text):
    """Return the bytes that a client sends for text."""
    return text.encode()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with open_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def client(service, **access):
    return TestClient(create_app(service, Access(**access)), base_url=BASE)


@pytest.fixture(scope="module")
def guarded(service):
    return client(service, token=TOKEN)


@pytest.fixture(scope="module")
def routes(service):
    """Return every live route with one of its methods."""
    app = create_app(service, Access())
    found = [(next(iter(route.methods - {"HEAD"})), route.path) for route in app._app.routes]
    assert {"/invocations", "/feedback", "/", "/docs", "/metrics", "/recent", *OPEN} <= {path for _, path in found}
    return found


def is_refused(answer, status, code):
    """Tell whether an answer is a refusal of ours, with every header that keeps a browser safe."""
    told = answer.json()
    assert (answer.status_code, told["error_code"]) == (status, code), answer.text
    inference = {"error"} if answer.request.url.path.startswith(INFERENCE) else set()  # as its protocol has it
    assert told.keys() == {"error_code", "message", "request_id", *inference}
    assert told.get("error", told["message"]) == told["message"]
    assert told["request_id"] == answer.headers["x-request-id"]
    assert len(answer.content) <= 1024
    assert answer.content.isascii()
    assert HEADERS.items() <= dict(answer.headers).items()
    return told


def is_refused_as_openai_does(answer, status, code, kind):
    """Tell whether an answer is a refusal of ours in OpenAI's form, with every header that keeps a browser safe."""
    told = answer.json()
    assert (answer.status_code, told.keys()) == (status, {"error"}), answer.text
    assert (told["error"]["code"], told["error"]["type"], told["error"]["param"]) == (code, kind, None)
    assert told["error"].keys() == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    assert len(answer.content) <= 1024
    assert answer.content.isascii()
    assert HEADERS.items() <= dict(answer.headers).items()
    return told


WRONG_TOKENS = {
    "none": {},
    "empty": {"authorization": ""},
    "no scheme": {"authorization": as_header(TOKEN)},
    "no token": {"authorization": "Bearer"},
    "a blank": {"authorization": "Bearer "},
    "another": {"authorization": "Bearer token"},
    "another case": {"authorization": as_header(f"Bearer {TOKEN.upper()}")},
    "cut": {"authorization": as_header(f"Bearer {TOKEN}")[:-1]},
    "longer": {"authorization": as_header(f"Bearer {TOKEN}x")},
    "twice in one": {"authorization": as_header(f"Bearer {TOKEN} {TOKEN}")},
    "another scheme": {"authorization": as_header(f"Digest {TOKEN}")},
    "as a user": {"authorization": basic("", user=TOKEN)},
    "Basic that is none": {"authorization": "Basic !!!"},
    "Basic of half a byte": {"authorization": "Basic a"},
    "Basic without a password": {"authorization": "Basic " + base64.b64encode(TOKEN.encode()).decode()},
    "another password": {"authorization": basic("token")},
    "as a cookie": {"cookie": "token=s3cret"},
    "elsewhere": {"x-token": as_header(TOKEN)},
}
RIGHT_TOKENS = {
    "Bearer": as_header(f"Bearer {TOKEN}"),
    "bearer": as_header(f"bearer {TOKEN}"),
    "spaced": as_header(f"Bearer   {TOKEN}"),
    "Basic": basic(TOKEN),
    "Basic of nobody": basic(TOKEN, user=""),
}


@each("headers", WRONG_TOKENS.values())
def test_every_route_but_two_needs_the_token(guarded, routes, headers):
    for method, path in routes:
        form = {"data": {"comment_content": "win"}} if path in KEYED else {}
        answer = guarded.request(method, path, headers=headers, **form)
        if path in OPEN:
            assert answer.status_code == 200
        elif path in KEYED:  # what its clients read of a wrong key
            assert (answer.status_code, answer.text) == (200, "invalid")
        elif path.startswith(OPENAI):
            told = is_refused_as_openai_does(answer, 401, "unauthenticated", "authentication_error")
            assert "s3cret" not in str(told)
        else:
            told = is_refused(answer, 401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == CHALLENGE["www-authenticate"]
            assert "s3cret" not in str(told)


@each("path", ["/nothing", "/ping/", "//ping", "/ping/../recent", "/PING", "/web/", "/%70ing/x"])
def test_what_is_not_there_needs_the_token_too(guarded, path):
    is_refused(guarded.get(path), 401, "UNAUTHENTICATED")


@each("given", RIGHT_TOKENS.values())
def test_the_token_opens_every_route(guarded, routes, given):
    for method, path in routes:
        assert guarded.request(method, path, headers={"authorization": given}).status_code not in {401, 403, 500}


@pytest.mark.parametrize(
    ("given", "compared"), [(f"Bearer {TOKEN}x", as_header(f"{TOKEN}x")), (basic("x"), b"x")], ids=["Bearer", "Basic"]
)
def test_the_token_is_compared_in_constant_time_and_by_nothing_else(guarded, monkeypatch, given, compared):
    asked = []
    for equal, status in ((True, 200), (False, 401)):
        monkeypatch.setattr(guard.hmac, "compare_digest", lambda *both, equal=equal: asked.append(both) or equal)
        assert guarded.get("/version", headers={"authorization": as_header(given)}).status_code == status
    assert asked == [(compared, as_header(TOKEN))] * 2


@pytest.mark.parametrize("path", ["/v2x", "/v2/models", "/v2/models/spam/versions/1/infer"])
def test_what_the_inference_protocol_does_not_have_here_is_told_as_it_tells_errors(guarded, path):
    answer = guarded.get(path, headers={"authorization": as_header(f"Bearer {TOKEN}")})
    told = is_refused(answer, 404, "ENDPOINT_NOT_FOUND")
    assert ("error" in told) == path.startswith("/v2/")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/engines", "/v1/chat/completions/x"])
def test_what_is_not_there_is_told_in_the_form_of_its_wire(guarded, path):
    answer = guarded.get(path, headers={"authorization": as_header(f"Bearer {TOKEN}")})
    if path == "/v1":
        is_refused(answer, 404, "ENDPOINT_NOT_FOUND")
    else:
        is_refused_as_openai_does(answer, 404, "endpoint_not_found", "invalid_request_error")


def test_a_token_given_twice_is_refused(guarded):
    twice = [("authorization", as_header(f"Bearer {TOKEN}"))] * 2
    is_refused(guarded.get("/version", headers=twice), 401, "UNAUTHENTICATED")


def test_without_a_token_every_route_is_open(service, routes):
    for method, path in routes:
        assert client(service).request(method, path).status_code not in {401, 403, 500}


FOREIGN = [
    "evil.example",
    "localhost.evil.example",
    "evil.example:8080",
    "127.0.0.1.nip.example",
    "10.0.0.1",
    "169.254.169.254",
    "[::2]",
    "",
    " ",
    "localhost:",
    "localhost:x",
    "localhost:8080:8080",
    "me@localhost",
    "localhost/..",
    "localhost, evil.example",
    "lоcalhost".encode(),
    "[::1",
    "::1",
    "0x7f.1",
]
OTHER_SPELLINGS = ["0.0.0.0", "0.0.0.0:8080", "[::]:8080"]
OWN = ["localhost", "LOCALHOST", "localhost.", "localhost:8080", "127.0.0.1", "127.0.0.1:8080", "127.1.2.3", "[::1]:80"]


@each("host", FOREIGN)
def test_a_foreign_host_is_refused_on_every_route(service, routes, host):
    for method, path in routes:
        answer = client(service).request(method, path, headers={"host": host})
        if path.startswith(OPENAI):
            told = is_refused_as_openai_does(answer, 403, "permission_denied", "permission_error")["error"]
        else:
            told = is_refused(answer, 403, "PERMISSION_DENIED")
        assert "--allowed-hosts" in told["message"]


@each("host", OWN)
def test_a_loopback_host_is_our_own_on_every_route(service, routes, host):
    for method, path in routes:
        answer = client(service, hosts=("filter.example",)).request(method, path, headers={"host": host})
        assert answer.status_code not in {403, 500}


@each("bound", ["127.0.0.1", "localhost", "::1"])
@each("host", OTHER_SPELLINGS)
def test_on_a_loopback_address_the_spelling_of_all_addresses_is_our_own(service, routes, host, bound):
    for method, path in routes:
        answer = client(service, hosts=(bound,)).request(method, path, headers={"host": host})
        assert answer.status_code not in {403, 500}


@each(
    ("hosts", "host", "allowed"),
    [
        (("10.0.0.1",), "0.0.0.0:8080", False),
        (("filter.example",), "0.0.0.0:8080", False),
        (("127.0.0.1", "filter.example"), "0.0.0.1", False),
        (("127.0.0.1",), "10.0.0.1", False),
        (("0.0.0.0",), "0.0.0.0:8080", True),
        (("filter.example",), "filter.example", True),
        (("Filter.Example",), "filter.EXAMPLE:8080", True),
        (("filter.example",), "other.example", False),
        (("filter.example",), "a.filter.example", False),
        (("*.example",), "filter.example", True),
        (("*.example",), "a.b.example:80", True),
        (("*.example",), "example", False),
        (("*.example",), "evilexample", False),
        (("10.0.0.1",), "10.0.0.1:8080", True),
        (("10.0.0.1",), "10.0.0.2", False),
        (("fe80::1",), "[FE80:0::1]", True),
        (("0.0.0.0",), "192.168.1.7:8080", True),
        (("0.0.0.0",), "filter.example", False),
        (("::",), "[2001:db8::7]", True),
        (("*",), "anything.example", True),
        (("*",), "no host at all", True),
        ((), "filter.example", False),
    ],
)
def test_hosts_are_allowed_by_name(hosts, host, allowed):
    assert Access(hosts=hosts).allows_host(host) is allowed


def test_a_request_with_two_hosts_or_none_is_refused(service):
    two = [("host", "localhost"), ("host", "localhost")]
    is_refused(client(service).get("/version", headers=two), 403, "PERMISSION_DENIED")
    sent = []
    ask(create_app(service, Access()), sent, headers=[])
    assert sent[0]["status"] == 403


@pytest.mark.parametrize(("version", "status"), [("1.0", 200), ("1.1", 403), ("2", 403)])
def test_a_request_of_the_first_version_needs_no_host(service, version, status):
    sent = []
    ask(create_app(service, Access()), sent, headers=[], path="/version", http_version=version)
    assert sent[0]["status"] == status
    ask(create_app(service, Access()), sent, headers=[(b"host", b"evil.example")], http_version=version)
    assert sent[2]["status"] == 403


def ask(app, sent, *, headers=((b"host", b"localhost"),), kind="http", path="/", http_version="1.1"):
    """Speak ASGI to an application, and collect what it sends."""
    import asyncio

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    scope = {
        "type": kind,
        "http_version": http_version,
        "method": "GET",
        "path": path,
        "headers": list(headers),
        "query_string": b"",
    }
    asyncio.run(app(scope, receive, send))


@each("given", ["a", "~" * 128, "00-0af7651916cd43dd8448eb211c80319c-01", '"<&\\'])
def test_a_request_keeps_the_id_that_it_was_given(guarded, given):
    answer = guarded.get("/ping", headers={"x-request-id": given})
    assert (answer.status_code, answer.headers["x-request-id"]) == (200, given)
    assert is_refused(guarded.get("/version", headers={"x-request-id": given}), 401, "UNAUTHENTICATED")


@each("given", ["", "a b", "x" * 129, "\t", "a\x7f", "é".encode(), [("x-request-id", "a")] * 2])
def test_an_id_that_is_none_is_refused_and_not_repeated(guarded, routes, given):
    headers = given if isinstance(given, list) else {"x-request-id": given}
    for method, path in routes:
        answer = guarded.request(method, path, headers=headers)
        if path.startswith(OPENAI):
            is_refused_as_openai_does(answer, 400, "bad_request", "invalid_request_error")
        else:
            is_refused(answer, 400, "BAD_REQUEST")
        assert len(answer.headers["x-request-id"]) == 36


def test_requests_without_an_id_get_different_ones(guarded):
    assert len({guarded.get("/ping").headers["x-request-id"] for _ in range(9)}) == 9


@pytest.fixture
def faulty(caplog):
    """Return a client of an application in which all that can goes wrong, and what was answered, by route."""
    answered = []

    async def refuse(_request):
        raise Refusal(429, "REQUEST_LIMIT_EXCEEDED", "try again soon", {"Retry-After": "1"})

    async def fail(_request):
        try:
            return {}["my secret message"]
        except KeyError as error:
            raise ValueError("my other secret message") from error

    async def leave(_request):
        raise ClientDisconnect

    async def speak_plainly(_request):
        return PlainTextResponse("my secret", status_code=503)

    async def speak_json(_request):
        return JSONResponse({"ready": False}, status_code=503)

    async def tell_state(request):
        return JSONResponse(
            request.scope["state"], headers={"cache-control": "max-age=9", "Content-Security-Policy": "x"}
        )

    async def begin_and_fail(_request):
        async def pieces():
            yield b"a"
            raise ValueError("my secret message")

        return StreamingResponse(pieces())

    endpoints = (refuse, fail, leave, speak_plainly, speak_json, tell_state, begin_and_fail)
    app = Starlette(routes=[Route(f"/{endpoint.__name__}", endpoint) for endpoint in endpoints])
    guard = Guard(app, Access(), lambda route, status: answered.append((route, status)))
    with caplog.at_level(logging.DEBUG):
        yield TestClient(guard, base_url=BASE, raise_server_exceptions=False), answered


def test_a_refusal_of_the_application_is_answered_with_its_headers(faulty):
    client, answered = faulty
    answer = client.get("/refuse")
    assert is_refused(answer, 429, "REQUEST_LIMIT_EXCEEDED")["message"] == "try again soon"
    assert answer.headers["retry-after"] == "1"
    assert answered == [("/refuse", 429)]


def test_any_other_exception_is_an_internal_error_whose_words_stay_inside(faulty, caplog):
    client, answered = faulty
    answer = client.get("/fail", headers={"x-request-id": "abc"})
    told = is_refused(answer, 500, "INTERNAL_ERROR")
    assert told == {
        "error_code": "INTERNAL_ERROR",
        "message": "internal error: look for the request id in the server's log",
        "request_id": "abc",
    }
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert line.startswith("request abc: builtins.ValueError at\n")
    assert "builtins.KeyError at" in line
    assert "in fail" in line
    assert answered == [("/fail", 500)]


def test_the_log_shows_no_words_of_an_exception(faulty, caplog):
    """The frames do show the lines of our own code, and this test's code holds the words."""
    client, _ = faulty
    client.get("/fail")
    told = [line for line in caplog.text.splitlines() if "secret" in line]
    assert all(line.strip().startswith(("raise ", "return ")) for line in told)


def test_an_answer_that_has_begun_is_cut_short(faulty, caplog):
    client, _ = faulty
    assert client.get("/begin_and_fail").content == b"a"
    assert "builtins.ValueError at" in caplog.text


def test_a_client_that_has_gone_is_no_error(faulty, caplog):
    client, answered = faulty
    client.get("/leave")
    assert not [
        record for record in caplog.records if record.levelno > logging.DEBUG and record.name.startswith("spamctl")
    ]
    assert answered == []


def test_a_plain_error_becomes_json_and_a_json_error_stays(faulty):
    client, _ = faulty
    assert "secret" not in str(is_refused(client.get("/speak_plainly"), 503, "TEMPORARILY_UNAVAILABLE"))
    answer = client.get("/speak_json")
    assert (answer.status_code, answer.json()) == (503, {"ready": False})


def test_the_application_may_set_its_own_headers_and_knows_the_request(faulty):
    client, answered = faulty
    answer = client.get("/tell_state", headers={"x-request-id": "abc"})
    assert answer.json() == {"request_id": "abc", "request_id_given": True}
    assert client.get("/tell_state").json()["request_id_given"] is False
    assert (answer.headers["cache-control"], answer.headers["content-security-policy"]) == ("max-age=9", "x")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answered == [("/tell_state", 200)] * 2


@pytest.mark.parametrize(
    "path", ["/nothing", "/refuse/more", "/web/../app.py", "/%2e%2e/%2e%2e/etc/passwd", "/\u202e<b>"]
)
def test_what_is_not_there_is_told_in_json(faulty, path):
    client, answered = faulty
    told = is_refused(client.get(path), 404, "ENDPOINT_NOT_FOUND")
    assert told["message"].endswith("see /docs")
    assert "\u202e" not in told["message"]
    assert answered == [(ELSEWHERE, 404)]


def test_a_wrong_method_is_told_the_right_one_on_every_route(service, routes):
    open_client = client(service)
    for method, path in routes:
        for other in set(METHODS) - {method, "HEAD" if method == "GET" else method}:
            answer = open_client.request(other, path)
            if other == "HEAD":
                assert (answer.status_code, answer.headers["allow"]) == (405, method)
                continue
            if path.startswith("/v1/"):
                told = is_refused_as_openai_does(answer, 405, "method_not_allowed", "invalid_request_error")["error"]
            else:
                told = is_refused(answer, 405, "METHOD_NOT_ALLOWED")
            assert method in answer.headers["allow"]
            assert method in told["message"]


@each(
    ("said", "closes"),
    [
        ({"content-length": "5"}, False),
        ({"content-length": "65537"}, True),
        ({"content-length": "9" * 40}, True),
        ({"transfer-encoding": "chunked"}, True),
        ({}, False),
    ],
)
def test_a_long_body_that_nobody_will_read_ends_the_connection(service, said, closes):
    sent = []
    headers = [(b"host", b"evil.example"), *((name.encode(), value.encode()) for name, value in said.items())]
    ask(create_app(service, Access()), sent, headers=headers)
    assert ((b"connection", b"close") in sent[0]["headers"]) is closes


def test_a_websocket_is_turned_away(service):
    sent = []
    ask(create_app(service, Access()), sent, kind="websocket")
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_token_is_not_shown():
    assert TOKEN not in repr(Access(TOKEN))


def test_what_is_refused_is_counted(service, guarded):
    guarded.get("/version")
    page = guarded.get("/metrics", headers={"authorization": RIGHT_TOKENS["Bearer"]}).text
    assert 'spamctl_requests_total{route="other",status="401"}' in page


def test_answers_of_the_real_application_carry_every_header(service, routes):
    for method, path in routes:
        answer = client(service).request(method, path)
        assert answer.headers.keys() >= {*HEADERS, "x-request-id"}
        form = "error" if path.startswith("/v1/") else "error_code"
        assert answer.status_code == 200 or json.loads(answer.content)[form]
