"""The few words of a Fault that are translated: its reason. Details name objects and stay as clients match them."""

from __future__ import annotations

from collections.abc import Mapping

REASONS: Mapping[str, Mapping[str, str]] = {
    "Operation Failed": {
        "de": "Vorgang fehlgeschlagen",
        "es": "Operación fallida",
        "fr": "Échec de l'opération",
        "it": "Operazione non riuscita",
        "ja": "操作に失敗しました",
        "pt": "Falha na operação",
    },
    "Incomplete parameters": {
        "de": "Unvollständige Parameter",
        "es": "Parámetros incompletos",
        "fr": "Paramètres incomplets",
        "it": "Parametri incompleti",
        "ja": "パラメーターが不完全です",
        "pt": "Parâmetros incompletos",
    },
}
"""English → language → words: the languages in which oVirt was translated and that somebody here reads."""


def in_language(words: str, language: str | None) -> str:
    """``words`` in the language of ``Accept-Language`` (``de-AT``), or as they are."""
    return REASONS.get(words, {}).get((language or "").split("-")[0].lower(), words)
