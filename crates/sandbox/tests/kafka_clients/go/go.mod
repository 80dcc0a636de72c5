// Clients of Kafka in Go: franz-go, and librdkafka 1.9, which its Go client brings along ready-made.
module kafka_clients

go 1.26.0

require (
	github.com/confluentinc/confluent-kafka-go v1.9.2
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
)
