# The image of a release, of the binaries that goreleaser has built. To build from the source: Dockerfile, whose last stage is the same.
FROM golang:1.26.8-bookworm@sha256:dc9ad6c05acc7a88e5b71bde60a5fe3bd4b9f0db209011711b464107438a8107 AS build

FROM scratch
ARG TARGETPLATFORM
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY $TARGETPLATFORM/tidings /tidings
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/tidings"]
