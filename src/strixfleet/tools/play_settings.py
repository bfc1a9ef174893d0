"""
Which of Ansible's settings a play of ours gets.

A plan is only as good as the play that follows it, so nothing that is left over in a shell or ansible.cfg may
have the play act elsewhere or leave tasks out. What decides how the inventory is read and how hosts are
reached is passed on: plan and play then agree. The environment outranks ansible.cfg, a host's own variables
outrank both.
"""

from collections.abc import Mapping


KEPT_PREFIXES = (
    "ANSIBLE_VAULT_",
    "ANSIBLE_HASHI_VAULT_",
    "ANSIBLE_INVENTORY_",
    "ANSIBLE_VARS_",
    "ANSIBLE_JINJA2_",
)
KEPT_NAMES = frozenset(
    {
        # where things are, and who is told of the play
        *("ANSIBLE_CONFIG", "ANSIBLE_HOME", "ANSIBLE_REMOTE_TMP", "ANSIBLE_REMOTE_TEMP", "ANSIBLE_LOG_PATH"),
        *("ANSIBLE_CALLBACKS_ENABLED", "ANSIBLE_CALLBACK_PLUGINS"),
        # how the inventory is read
        *("ANSIBLE_HASH_BEHAVIOUR", "ANSIBLE_PRECEDENCE", "ANSIBLE_RUN_VARS_PLUGINS"),
        *(
            "ANSIBLE_YAML_FILENAME_EXT",
            "ANSIBLE_DUPLICATE_YAML_DICT_KEY",
            "ANSIBLE_TRANSFORM_INVALID_GROUP_CHARS",
        ),
        *("ANSIBLE_LOOKUP_PLUGINS", "ANSIBLE_FILTER_PLUGINS", "ANSIBLE_TEST_PLUGINS"),
        *("ANSIBLE_CACHE_PLUGIN", "ANSIBLE_CACHE_PLUGIN_CONNECTION", "ANSIBLE_CACHE_PLUGINS"),
        # how hosts are reached
        *("ANSIBLE_REMOTE_USER", "ANSIBLE_REMOTE_PORT", "ANSIBLE_PRIVATE_KEY_FILE", "ANSIBLE_TIMEOUT"),
        *("ANSIBLE_SSH_TIMEOUT", "ANSIBLE_SSH_RETRIES", "ANSIBLE_SSH_COMMON_ARGS", "ANSIBLE_SSH_EXTRA_ARGS"),
        *("ANSIBLE_BECOME", "ANSIBLE_BECOME_USER", "ANSIBLE_BECOME_FLAGS", "ANSIBLE_BECOME_EXE"),
    }
)
SETTLED: Mapping[str, str] = {
    # where and how hosts are reached
    "ANSIBLE_TRANSPORT": "ssh",  # a host that says `ansible_connection: local` still is
    "ANSIBLE_SSH_EXECUTABLE": "ssh",
    "ANSIBLE_HOST_KEY_CHECKING": "True",
    "ANSIBLE_BECOME_METHOD": "sudo",
    "ANSIBLE_PIPELINING": "True",
    "ANSIBLE_PYTHON_INTERPRETER": "auto_silent",
    # which tasks run, and on whom
    "ANSIBLE_RUN_TAGS": "all",
    "ANSIBLE_SKIP_TAGS": "",
    "ANSIBLE_STRATEGY": "linear",
    "ANSIBLE_ANY_ERRORS_FATAL": "False",
    "ANSIBLE_TASK_TIMEOUT": "0",
    "ANSIBLE_ENABLE_TASK_DEBUGGER": "False",
    "ANSIBLE_GATHERING": "explicit",
    # what is asked for, kept and shown
    "ANSIBLE_ASK_PASS": "False",
    "ANSIBLE_BECOME_ASK_PASS": "False",
    "ANSIBLE_ASK_VAULT_PASS": "False",
    "ANSIBLE_KEEP_REMOTE_FILES": "False",  # they hold the arguments of modules
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
    "ANSIBLE_STDOUT_CALLBACK": "strixfleet.fleet.events",
    "ANSIBLE_NO_LOG": "False",  # would hide why a task failed; what is secret is hidden by itself
    "ANSIBLE_DIFF_ALWAYS": "False",
    "ANSIBLE_LOCALHOST_WARNING": "False",
    "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False",
    "ANSIBLE_FORCE_COLOR": "False",
    "ANSIBLE_NOCOLOR": "True",
}


def settings_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without Ansible's settings but those that are kept, and with ours."""
    kept = {name: text for name, text in environment.items() if _is_kept(name)}
    return {**kept, **SETTLED}


def _is_kept(name: str) -> bool:
    return not name.startswith("ANSIBLE_") or name in KEPT_NAMES or name.startswith(KEPT_PREFIXES)
