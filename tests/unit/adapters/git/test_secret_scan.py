"""Which credentials are found, and what is not taken for one."""

import pytest

from codexteam.adapters.git.content import SecretHit, SecretScanner


def _hits(text: str) -> list[SecretHit]:
    return list(SecretScanner().scan(enumerate(text.split("\n"), 1)))


# put together here, so that no scanner takes this file for a leak
SAMPLES = {
    "AWS": "AKIA" + "QYLPMN5HHHFPZAM2",
    "GitHub": "ghp_" + "0123456789abcdefghijABCDEFGHIJ012345",
    "GitHub fine": "github_pat_" + "a" * 22 + "_" + "b" * 59,
    "Slack": "xoxb-" + "123456789012-1234567890123-" + "AbCdEfGhIjKlMnOpQrStUvWx",
    "Stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "OpenAI": "sk-" + "a1B2c3D4e5F6g7H8i9J0" + "T3BlbkFJ" + "k1L2m3N4o5P6q7R8s9T0",
    "OpenAI project": "sk-proj-" + "Ab3_" * 18 + "T3BlbkFJ" + "x9Yz" * 18,
    "Anthropic": "sk-ant-api03-" + "Ab3_" * 23 + "AA",
    "Google": "AIza" + "Sy" + "A1b2C3d4E5" * 3 + "xyz",
    "GitLab": "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "OpenSSH key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "npm": "npm_" + "A1b2C3d4E5" * 3 + "abcdef",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_credential_is_found_with_its_line(name: str) -> None:
    found = _hits(f"first\nkey = '{SAMPLES[name]}'  # pragma: allowlist secret\nlast")
    assert {hit.line for hit in found} == {2}
    assert all(SAMPLES[name] not in hit.kind for hit in found)


def test_a_credential_deep_in_a_very_long_line_is_found() -> None:
    for at in (65_520, 65_536, 65_540, 200_000):
        assert _hits("x" * at + " " + SAMPLES["AWS"] + " " + "y" * 1000)


@pytest.mark.parametrize(
    "text",
    [
        "password = 'example'",
        "postgres://user:password@localhost/db",
        "a" * 64,
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "sk-learn is imported",
        "token = os.environ['GITHUB_TOKEN']",
        "AKIA is the prefix",
        "integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    ],
)
def test_ordinary_text_is_no_credential(text: str) -> None:
    assert _hits(text) == []
