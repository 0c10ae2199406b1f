import os

has_flash_attn = has_flash_attn_with_paged = os.environ.get("STAND_IN_UNPAGED") is None
