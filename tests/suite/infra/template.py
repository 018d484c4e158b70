"""Prints a CloudFormation template as JSON, short forms spelled out: template.py FILE"""

import json
import sys

from cfnlint.decode import cfn_yaml

print(json.dumps(cfn_yaml.load(sys.argv[1])))
