"""The page of a run: one HTML file, made of the parts of the nodes' pages.

make.py       the page, section by section
verdict.py    how the run ended, in a sentence
sections.py   the sections on data, training and test
comparison.py the page of runs side by side
data_page.py  the page of data before any training
lineage.py    the sections on nodes, and on what the result was made from

Importing these modules imports neither TensorFlow nor TFX.
"""
