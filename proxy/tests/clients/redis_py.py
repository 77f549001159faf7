"""redis-py with its defaults, against the proxy at the port given."""

import sys

import redis

port = int(sys.argv[1])
client = redis.Redis(port=port)
assert client.set("py", "1") is True
assert client.get("py") == b"1"
assert client.get("py:none") is None
assert client.incr("py") == 2
assert client.mget("py", "py:none") == [b"2", None]
assert client.set("py", "3", nx=True) is None
assert client.exists("py", "py:none") == 1
assert client.config_get("save") == {"save": ""}
assert client.info()["redis_version"] == "7.0.0"
assert client.client_id() > 0
assert client.client_getname() is None
assert client.ping() is True
assert client.echo("hi") == b"hi"
for n in range(30):
    client.set(f"py:{n}", "x")
assert len(list(client.scan_iter("py:*", count=7))) == 30
many = [f"py:{n}" for n in range(2000)]
assert client.mget(many)[:31] == [b"x"] * 30 + [None]

# A transaction is refused as a whole.
pipeline = client.pipeline()
pipeline.set("py", "transaction").incr("py:count")
try:
    pipeline.execute()
except redis.exceptions.ResponseError as error:
    assert "MULTI" in str(error), error
else:
    raise AssertionError("the transaction was not refused")
assert client.get("py") == b"2"
assert client.get("py:count") is None
# The connection is usable afterwards.
assert client.pipeline(transaction=False).set("py", "4").get("py").execute() == [True, b"4"]

for options in [{"protocol": 2}, {"protocol": 3}, {"client_name": "me"}, {"password": "any", "username": "default"}]:
    other = redis.Redis(port=port, **options)
    assert other.get("py") == b"4", options
assert redis.Redis(port=port, client_name="me").client_getname() in (b"me", "me")
assert client.delete("py", *many) == 31
print("ok")
