# The runtime image: coordinator, agent and Node shim, and the base of images for stages in TypeScript (examples/flights/Dockerfile).
# What goes in is listed in scripts/image-contents.mjs; the test cluster makes the same image from that list without a daemon.
#
#   docker build -t podline .
#
# Nothing in it is written to at run time, and nothing needs root: it runs with a read-only root file system as any user.
ARG NODE=node:20-slim
ARG GO=golang:1.24-alpine

FROM --platform=$BUILDPLATFORM ${GO} AS shim
ARG TARGETARCH
RUN apk add --no-cache bash coreutils
COPY sidecars/shim-static /src/sidecars/shim-static
RUN /src/sidecars/shim-static/build.sh /out/podline-shim "$TARGETARCH"

FROM ${NODE} AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY . .
COPY --from=shim /out/podline-shim bin/podline-shim
RUN npm run build && node scripts/image-contents.mjs copy /out
# The examples with stages in TypeScript, as any image carries stages.
RUN for pipeline in bytes flights python service; do node dist/runtime/cli/main.js build "examples/$pipeline/pipeline.yaml" --out /out/podline; done

FROM ${NODE}
COPY --from=build /out/ /
ENV NODE_ENV=production
WORKDIR /podline
USER 10001:10001
ENTRYPOINT ["node", "/podline/dist/runtime/cli/main.js"]
