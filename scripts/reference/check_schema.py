"""Checks TOML files against a JSON schema with an independent validator, and that the schema refuses what it should.

Usage: check_schema.py SCHEMA.json CONFIG.toml...
"""
import json, sys, tomllib
from jsonschema import Draft202012Validator

schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
failed = False
for path in sys.argv[2:]:
    for error in validator.iter_errors(tomllib.load(open(path, "rb"))):
        failed = True
        print(f"{path}: {error.json_path}: {error.message}")
for wrong in ({"train": {"epoch": 3}}, {"train": {"batch_size": 0}}, {"model": {"activation": "rellu"}}, {"scale": {"kind": ["range", "rnge"]}}):
    if validator.is_valid(wrong):
        failed = True
        print(f"the schema lets {wrong} pass")
sys.exit(failed)
