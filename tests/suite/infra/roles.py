"""Creates a stack in memory and prints what its roles may do: roles.py TEMPLATE NAME=VALUE…

The output maps the logical name of each role to its policies' statements, as IAM would see them.
"""

import ast
import json
import sys

import boto3
from moto import mock_aws

template, *parameters = sys.argv[1:]
keys = dict(region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")

with mock_aws():
    s3 = boto3.client("s3", **keys)
    s3.create_bucket(
        Bucket="code", CreateBucketConfiguration={"LocationConstraint": keys["region_name"]}
    )
    s3.put_object(Bucket="code", Key="zip", Body=b"x")
    formation = boto3.client("cloudformation", **keys)
    formation.create_stack(
        StackName="muster",
        TemplateBody=open(template).read(),
        Parameters=[
            dict(zip(["ParameterKey", "ParameterValue"], p.split("=", 1))) for p in parameters
        ],
        Capabilities=["CAPABILITY_IAM"],
    )
    iam = boto3.client("iam", **keys)
    roles = {}
    for resource in formation.describe_stack_resources(StackName="muster")["StackResources"]:
        if resource.get("ResourceType") == "AWS::IAM::Role":
            role = resource["PhysicalResourceId"]
            statements = roles.setdefault(resource["LogicalResourceId"], [])
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                # moto keeps what comes with a role in Python's spelling, not in JSON's.
                if isinstance(document, str):
                    document = ast.literal_eval(document)
                statements += document["Statement"]
    print(json.dumps(roles))
