module mtp-operator.dev/tests/cluster/tools/pause

go 1.26
