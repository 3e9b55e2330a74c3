"""Config: a read-only, hashable mapping that survives text and files."""

from __future__ import annotations

import pickle

import pytest

import helion
from helion.autotuner.config_spec import BlockSizeSpec, ConfigSpec
from helion.runtime.config import Config


def make_config():
    return Config(block_sizes=[64, 32], num_warps=8, loop_orders=[[1, 0]], depth=3)


def test_mapping():
    config = make_config()
    assert sorted(config) == ["block_sizes", "depth", "loop_orders", "num_warps"]
    assert dict(config)["loop_orders"] == [[1, 0]]
    assert config["depth"] == 3 and len(config) == 4


def test_none_means_not_given():
    assert "maxnreg" not in Config(maxnreg=None)
    assert Config(reduction_loops=[None]).reduction_loops == [None]


def test_defaults_of_attributes():
    config = Config()
    assert (config.num_warps, config.num_stages, config.pid_type) == (4, 1, "flat")
    assert (config.num_sm_multiplier, config.maxnreg) == (1, None)
    assert config.block_sizes == config.indexing == config.range_flattens == []
    assert (config.advanced_controls_file, config.epilogue_subtile) == ("", None)


def test_equality_and_hash_follow_the_content():
    assert make_config() == make_config()
    assert hash(make_config()) == hash(make_config())
    assert (
        Config(block_sizes=(64,)) == Config(block_sizes=[64]) == {"block_sizes": [64]}
    )
    assert Config(num_warps=4) != Config(num_warps=8)


def test_nothing_can_change_a_config():
    config = make_config()
    with pytest.raises(AttributeError, match="immutable"):
        config.num_warps = 4
    with pytest.raises(AttributeError, match="immutable"):
        del config._values
    with pytest.raises(TypeError):
        config["num_warps"] = 4
    config.block_sizes.append(1)
    config["loop_orders"][0].clear()
    assert config == make_config()


def test_repr_is_source():
    text = repr(make_config())
    assert text.startswith("helion.Config(block_sizes=[64, 32], depth=3, loop")
    assert eval(text, {"helion": helion}) == make_config()


def test_round_trips(tmp_path):
    config = make_config()
    assert Config.from_json(config.to_json()) == config
    assert Config.from_dict(config) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_save_makes_folders_and_leaves_no_other_file(tmp_path):
    path = tmp_path / "deep" / "best.json"
    make_config().save(path)
    Config(num_warps=1).save(path)
    assert Config.load(path) == Config(num_warps=1)
    assert [file.name for file in path.parent.iterdir()] == ["best.json"]


def test_arguments_are_keywords():
    with pytest.raises(TypeError):
        Config({"num_warps": 4})


def test_minimize_keeps_block_sizes_and_changes():
    spec = ConfigSpec(block_sizes=[BlockSizeSpec(0, 1024)])
    config = Config(block_sizes=[32], num_warps=8, num_stages=1)
    assert config.minimize(spec) == Config(block_sizes=[32], num_warps=8)
