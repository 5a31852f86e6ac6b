"""Who is told what and when. Knows no pixels.

`lvo.pathway.webhook`, which posts alerts, is imported by itself: it needs the ``serve`` extra.
"""

from lvo.pathway.alert import UnknownCentre, decide_alert, recipients
from lvo.pathway.config import Centre, Csc, Network, Psc, Webhook, load_network

__all__ = [
    "Centre",
    "Csc",
    "Network",
    "Psc",
    "UnknownCentre",
    "Webhook",
    "decide_alert",
    "load_network",
    "recipients",
]
