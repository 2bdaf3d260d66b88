#!/bin/sh
# Ask a served classifier about an image by REST, with curl; the answer is JSON.
#
#     ./predict.sh http://localhost:8501 mnist digit.png
set -eu
{
    printf '{"instances": [{"b64": "'
    base64 <"$3" | tr -d '\n'
    printf '"}]}'
} | curl --fail-with-body --silent --show-error --max-time 30 --data-binary @- "$1/v1/models/$2:predict"
