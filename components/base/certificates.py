"""How clients of an authority that users name check its certificates."""

from __future__ import annotations

import ssl
from typing import Any

import urllib3


def accept_older_authorities(api_client: Any) -> None:
    """Have a generated API client accept authorities without the extensions that Python 3.13 asks for.

    Many clusters and companies have made one without keyUsage or key identifiers. What is signed, by whom and
    for which host is checked all the same.

    Args:
        api_client: An `ApiClient` of `kubernetes` or `kfp_server_api`.
    """
    context = urllib3.util.create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    api_client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = context
