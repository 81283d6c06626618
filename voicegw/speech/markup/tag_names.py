"""Names of tags by their effect on speech. The rules that apply them are in `tags`."""

from __future__ import annotations

from voicegw.speech.characters import split_names

REASONING_TAGS = split_names(
    "think thinking thought thoughts reasoning reason reasoning_content reflection reflect reflexion "
    "scratchpad redacted_thinking chain_of_thought inner_monologue internal_monologue antthinking"
)
"""Tags that hold reasoning; each of them ends it."""
UNSPOKEN_TAGS = split_names(
    "script style template tool_call tool_calls tool_code tool_use tool_output tool_outputs tool_result "
    "tool_results tool_response tool_responses tool_request function_call function_calls function_result "
    "function_results function_response function parameter invoke observation execute_bash execute_ipython "
    "execute_ipython_cell execute_browse system-reminder system_reminder environment_details"
)
"""Tags whose content is never spoken."""
STRUCK_TAGS = split_names("del s strike")
"""Tags around text that its author took back."""
SCRIPT_TAGS = split_names("sup sub")
BLOCK_TAGS = split_names(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead "
    "tbody tr caption blockquote pre hr form fieldset figure figcaption details summary"
)
"""Tags that end a sentence."""
PAUSE_TAGS = split_names("br td th")
"""Tags that are a comma."""
INLINE_TAGS = split_names(
    "a abbr b bdi bdo big cite code data dfn em font i ins kbd label mark q samp small span strong time tt "
    "u var wbr"
)
"""Tags that may stand within a word."""
OTHER_TAGS = split_names(
    "iframe img input button picture source svg video audio break pause artifact answer response final "
    "output "
    "result message speak voice prosody say-as phoneme emphasis sub spell emotion speed volume laugh laughs "
    "laughter sigh sighs chuckle chuckles cough sniffle groan yawn gasp giggle whisper breath silence "
    "start_of_turn end_of_turn start_of_image bos eos pad unk"
)
"""Further tags of HTML, of voices and of models: they are silent, and what they hold is spoken."""
HTML_TAGS = (
    BLOCK_TAGS
    | PAUSE_TAGS
    | REASONING_TAGS
    | UNSPOKEN_TAGS
    | STRUCK_TAGS
    | SCRIPT_TAGS
    | INLINE_TAGS
    | OTHER_TAGS
)
"""All tags that are known; another name in angle brackets may be a placeholder."""
GLUED_TAGS = INLINE_TAGS | SCRIPT_TAGS | STRUCK_TAGS
"""Tags that leave no blank between the words on their sides."""
MENTIONED_TAGS = REASONING_TAGS | UNSPOKEN_TAGS
"""Tags that a sentence may only mention."""
TYPE_NAMES = split_names(
    "int integer void string str bool boolean float double char byte long number any object unknown u8 "
    "i32 i64 "
    "f64 usize"
)
"""Types in lower case, as in `vector<int>`."""
