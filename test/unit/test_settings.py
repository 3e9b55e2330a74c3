"""Settings: defaults, environment variables, checks."""

from __future__ import annotations

import logging

import pytest
import torch

from helion import exc
from helion.runtime.settings import RefMode, Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("HELION_INTERPRET", "TRITON_INTERPRET", "HELION_AUTOTUNE_EFFORT"):
        monkeypatch.delenv(name, raising=False)


def test_defaults():
    settings = Settings()
    assert settings.static_shapes is True
    assert settings.max_triton_tensor_numel == 1048576
    assert settings.autotune_effort == "none"
    assert (settings.ref_mode, settings.index_dtype) == (RefMode.OFF, None)
    assert 0 <= settings.autotune_random_seed < 2**32


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("HELION_STATIC_SHAPES", "Off", "static_shapes", False),
        ("HELION_STATIC_SHAPES", "  ", "static_shapes", True),
        ("HELION_FAST_MATH", "YES", "fast_math", True),
        ("HELION_INDEX_DTYPE", "int64", "index_dtype", torch.int64),
        ("HELION_INDEX_DTYPE", "auto", "index_dtype", None),
        ("TRITON_F32_DEFAULT", "highest", "dot_precision", "ieee"),
        ("HELION_INTERPRET", "1", "ref_mode", RefMode.EAGER),
        ("HELION_MAX_TRITON_TENSOR_NUMEL", "65536", "max_triton_tensor_numel", 65536),
        ("HELION_AUTOTUNE_LOG_LEVEL", "debug", "autotune_log_level", logging.DEBUG),
        ("HELION_AUTOTUNE_LOG_LEVEL", "0", "autotune_log_level", 0),
        ("HELION_IGNORE_WARNINGS", "WrongDevice", "ignore_warnings", [exc.WrongDevice]),
    ],
)
def test_environment_gives_the_default(monkeypatch, name, text, field, value):
    monkeypatch.setenv(name, text)
    assert getattr(Settings(), field) == value


def test_argument_beats_environment(monkeypatch):
    monkeypatch.setenv("HELION_STATIC_SHAPES", "0")
    assert Settings(static_shapes=True).static_shapes is True


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HELION_STATIC_SHAPES", "maybe"),
        ("HELION_AUTOTUNE_EFFORT", "huge"),
        ("HELION_PERSISTENT_RESERVED_SMS", "-1"),
        ("HELION_INDEX_DTYPE", "float32"),
        ("HELION_IGNORE_WARNINGS", "NoTensorArgs"),
    ],
)
def test_illegal_variable_is_named(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(ValueError, match=name):
        Settings()


def test_illegal_argument_lists_the_choices():
    with pytest.raises(ValueError, match="none, quick, full"):
        Settings(autotune_effort="huge")
    with pytest.raises(ValueError, match="static_shapes"):
        Settings(static_shapes=None)


def test_unknown_setting_is_a_type_error():
    with pytest.raises(TypeError, match="no_such_setting"):
        Settings(no_such_setting=1)


def test_copy_is_independent():
    settings = Settings(fast_math=True)
    other = settings.copy()
    assert other == settings
    other.ignore_warnings.append(exc.WrongDevice)
    other.fast_math = False
    assert settings.ignore_warnings == [] and settings.to_dict()["fast_math"] is True


def test_two_interpreters_are_refused(monkeypatch):
    monkeypatch.setenv("HELION_INTERPRET", "1")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(exc.IncompatibleInterpretModes):
        Settings()


def test_eager_mode_has_no_code_to_print():
    with pytest.raises(exc.RefEagerModeCodePrintError):
        Settings(ref_mode=RefMode.EAGER, print_output_code=True)


def test_searching_can_be_forbidden_late(monkeypatch):
    settings = Settings()
    settings.check_autotuning_disabled()
    monkeypatch.setenv("HELION_DISALLOW_AUTOTUNING", "1")
    with pytest.raises(exc.AutotuningDisallowedInEnvironment, match="config="):
        settings.check_autotuning_disabled()


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("HELION_AUTOTUNER", "RandomSearch", "autotuner_fn", "RandomSearch"),
        ("HELION_FORCE_AUTOTUNE", "1", "force_autotune", True),
        ("HELION_AUTOTUNE_BUDGET_SECONDS", "30", "autotune_budget_seconds", 30),
        ("HELION_AUTOTUNE_MAX_GENERATIONS", "4", "autotune_max_generations", 4),
        ("HELION_AUTOTUNE_ACCURACY_CHECK", "no", "autotune_accuracy_check", False),
        ("HELION_REBENCHMARK_THRESHOLD", "1.2", "autotune_rebenchmark_threshold", 1.2),
        (
            "HELION_AUTOTUNE_CONFIG_OVERRIDES",
            '{"num_warps": 8}',
            "autotune_config_overrides",
            {"num_warps": 8},
        ),
        ("HELION_AUTOTUNE_LOG", "logs/run", "autotune_log", "logs/run"),
    ],
)
def test_environment_of_a_search(monkeypatch, name, text, field, value):
    monkeypatch.setenv(name, text)
    assert getattr(Settings(), field) == value


def test_overrides_of_a_search_from_a_file(tmp_path):
    path = tmp_path / "pinned.json"
    path.write_text('{"block_sizes": [16]}')
    settings = Settings(autotune_config_overrides=str(path))
    assert settings.autotune_config_overrides == {"block_sizes": [16]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"autotune_baseline_fn": 3},
        {"autotune_baseline_atol": -1.0},
        {"autotune_seed_configs": [3]},
        {"autotuner_fn": 3},
    ],
    ids=str,
)
def test_wrong_settings_of_a_search(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)
