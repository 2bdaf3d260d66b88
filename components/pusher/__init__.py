"""Pusher: publishes a blessed model as a version of the serving folder."""
