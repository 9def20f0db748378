module mtp-operator.dev/tests/cluster/tools/kubernetes

go 1.26.0

require k8s.io/kubernetes v1.37.2

replace (
)
