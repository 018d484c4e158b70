"""Prints what an AWS account holds, as JSON: account.py REGION…"""

import json
import sys

import boto3

found = {"stacks": {}, "functions": {}, "logs": {}, "buckets": {}}
for region in sys.argv[1:]:
    stacks = boto3.client("cloudformation", region_name=region).describe_stacks()["Stacks"]
    found["stacks"][region] = sorted(stack["StackName"] for stack in stacks)
    functions = boto3.client("lambda", region_name=region)
    for function in functions.list_functions()["Functions"]:
        name = function["FunctionName"]
        concurrency = functions.get_function_concurrency(FunctionName=name)
        function["Concurrency"] = concurrency.get("ReservedConcurrentExecutions")
        found["functions"][f"{region} {name}"] = function
    for group in boto3.client("logs", region_name=region).describe_log_groups()["logGroups"]:
        found["logs"][f"{region} {group['logGroupName']}"] = group.get("retentionInDays")
s3 = boto3.client("s3", region_name=sys.argv[1])
for bucket in s3.list_buckets()["Buckets"]:
    name = bucket["Name"]
    encryption = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]
    found["buckets"][name] = encryption["Rules"]
print(json.dumps(found, default=str))
