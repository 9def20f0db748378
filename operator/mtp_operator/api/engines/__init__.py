"""What the API says of each engine: its settings, the flags that are refused, and the oldest version that works."""

from typing import Final

from . import environment, llamacpp_settings, sglang_settings, vllm_settings
from .refusals import Flags, Variables

FLAGS: Final = Flags(
    {**llamacpp_settings.REFUSED, **vllm_settings.REFUSED, **sglang_settings.REFUSED},
    allowed=(*llamacpp_settings.ALLOWED, *sglang_settings.ALLOWED),
)
"""Of all engines together: what two engines share has one reason, and one message names the argument by its place."""

VARIABLES: Final = Variables(environment.REFUSED)
