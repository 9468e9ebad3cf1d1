module lockgate.test/kubernetes-pod

go 1.26.0
