"""SHA-1 as git uses it, from the interpreter itself: `hashlib` loads all of OpenSSL for it, in every sandbox that starts."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha1
else:
    try:
        from _sha1 import sha1
    except ImportError:
        from hashlib import sha1

__all__ = ["sha1"]
