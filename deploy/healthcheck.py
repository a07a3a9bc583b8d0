"""Exit with status 0 if the service in this container is ready, otherwise with status 1 and the reason."""

import os
import sys
from urllib.request import urlopen

URL = f"http://127.0.0.1:{os.environ.get('UNVEIL_PORT', '8000')}/health"

try:
    with urlopen(URL, timeout=4) as response:
        sys.exit(0 if response.status == 200 else f"{URL}: status {response.status}")
except OSError as error:
    sys.exit(f"{URL}: {error}")
