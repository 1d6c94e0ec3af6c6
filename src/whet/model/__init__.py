"""Loading a model, seeing its parts, freezing some of them."""

import logging

# Peft imports bitsandbytes wherever it is installed, which then warns of kernels that nothing here uses.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
