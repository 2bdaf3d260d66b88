"""The kit that the pages of the nodes are made with. Each page is the module `page` in its step's room.

page.py, page.css   a page that is filled part by part
rendered.py         the finished page, as data
markup.py           escaped text, numbers, tables
charts.py           curves as inline SVG
tables.py           tables that several pages have
anomalies.py        anomalies of the validators
records.py          the first records of a split, and their images
events.py           the Trainer's event files
protocol.py         what the pages ask of the modules `page` of steps and tasks

Importing these modules imports neither TensorFlow nor TFX.
"""
