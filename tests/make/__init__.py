"""What several test modules make, a module for each kind of thing, and how they start commands.

images, records, boxes, shapes, detections: data from a few pixels to whole shards. folders, layouts, weights:
files as users have them. graphs, trainings, pipelines: what is fitted on such data. commands, workers:
`mirante` and its ingest without their start-up.
"""
