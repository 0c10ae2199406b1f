"""The spellings of the addresses of servers; tests/cli/test_endpoints.py asks servers."""

from paragone_workbench.models import normalize_url

SERVERS = [
    ["http://localhost:11434", "http://127.0.0.1:11434/", " http://LOCALHOST:11434// "],
    ["http://box", "http://box:80/"],
    ["https://Box/v1/", "https://box:443/v1"],
    *[
        [url]
        for url in ("https://box", "http://box:8000", "http://box/v1", "http://127.0.0.2", "http://[::1]")
    ],
    *[[url] for url in ("http://localhost", "http://box:port", "box", "")],
]
"""The spellings of the addresses of different servers."""


def test_spellings_of_the_same_server_share_an_endpoint():
    found = [{normalize_url(url) for url in spellings} for spellings in SERVERS]
    assert [len(it) for it in found] == [1] * len(SERVERS)
    assert len(set.union(*found)) == len(SERVERS)
