# The one image: its arguments say which program it is.
#
#   docker build -t tidings/tidings .
#   docker buildx build --platform linux/amd64,linux/arm64 -t tidings/tidings .
#   docker run --rm tidings/tidings function chat-ingest
#
# The binary keeps its build information, from which tools such as syft list what is in it.
FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm@sha256:dc9ad6c05acc7a88e5b71bde60a5fe3bd4b9f0db209011711b464107438a8107 AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH
# grpcnotrace leaves out what grpc, which exporting traces links, has for showing its own: by templates, for which the linker keeps every method there is.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    mkdir /out && GOOS=$TARGETOS GOARCH=$TARGETARCH go build -tags=grpcnotrace -ldflags='-s -w' -o /out/ ./cmd/tidings

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/tidings /tidings
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/tidings"]
