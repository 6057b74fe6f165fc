"""What a sandbox may reach: the proxy outside and the relay inside."""

from pathlib import Path
from typing import Final

#: The relay as the file that runs inside sandboxes.
RELAY_FILE: Final = Path(__file__).with_name("relay.py")
