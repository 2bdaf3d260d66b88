"""Worker pods: a Trainer on Kubernetes that starts the other machines of its training, and stops them.

config.py       what is asked for, and by whom
environment.py  a process' place in the cluster, from the variables that a pod has
manifest.py     the Job and the Service of the workers
api.py          the few requests to the cluster's API
pods.py         starts them, waits for them, stops them
"""
