{{/* What `helm test` tunes: a GPU that is not there, as fast as a recorded curve says. One comparison, n_spec 1 with 0. */}}
{{- define "mtp-operator.testModel" -}}
{{- $test := .root.Values.test -}}
apiVersion: mtp-operator.dev/v1alpha1
kind: MTPModel
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
spec:
  model:
    uri: {{ printf "pvc://%s" $test.claim }}
  engine:
    type: VLLM
    image: {{ $test.engineImage | quote }}
    vllm: {maxModelLen: 3000, maxNumSeqs: 1}
    env:
      - {name: SIMULATED_GPU_CURVE, value: seed-gemma4-31b-fp8-vllm}
      - {name: SIMULATED_GPU_SPEED, value: "2"}
  accelerator:
    architecture: Any
    resourceName: {{ $test.resourceName | quote }}
    {{- with $test.products }}
    products: {{- toYaml . | nindent 6 }}
    {{- end }}
  # Tuned, and not served.
  serving: {replicas: 0}
  tuning:
    maxNSpec: 1
    budget: {maxTrials: 3}
    workload:
      prompts: {builtIn: [Code, Chat]}
      outputTokens: 32
      sampling: {mode: Greedy}
      levels:
        - {concurrency: 1}
  template:
    resources:
      requests: {cpu: 100m}
{{- end }}
