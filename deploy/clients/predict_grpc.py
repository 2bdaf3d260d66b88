"""Ask a served classifier about an image by gRPC.

pip install tensorflow-serving-api
python predict_grpc.py localhost:8500 mnist digit.png
"""

import pathlib
import sys

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

server, model, image = sys.argv[1:]
request = predict_pb2.PredictRequest()
request.model_spec.name = model
request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([pathlib.Path(image).read_bytes()]))
with grpc.insecure_channel(server) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    outputs = stub.Predict(request, timeout=30, wait_for_ready=True).outputs
probabilities, labels = (tf.make_ndarray(outputs[name])[0] for name in ("probabilities", "labels"))
for score, label in sorted(zip(probabilities, labels, strict=True), reverse=True):
    print(f"{label.decode()} {score:.4f}")
