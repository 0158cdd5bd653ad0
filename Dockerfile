# lockd as a static binary in an empty image. The builder stage needs a registry; a machine
# without one builds the binary on the host and puts it into the last stage alone.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/lockd ./cmd/lockd && mkdir -p /out/data

FROM scratch
COPY --from=build /out/lockd /lockd
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
VOLUME /data
EXPOSE 8080 7080
ENV LOCKD_DATA_DIR=/data
HEALTHCHECK --interval=2s --timeout=2s --start-period=20s --retries=5 CMD ["/lockd", "health"]
ENTRYPOINT ["/lockd"]
CMD ["serve"]
