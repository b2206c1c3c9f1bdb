"""The live page (`bash deploy/deploy_demo.sh`): a person asks, and watches the loop think, search, read."""
