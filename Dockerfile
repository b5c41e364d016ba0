# escrowd with SoftHSM and a private PostgreSQL, as an unprivileged user. See docs/containers.md.
#
#   docker build -t escrowd .
#   docker run --rm -p 8443:8443 -v escrowd-data:/data escrowd
#
# /data holds what scripts/ceremony and your configuration made: escrowd.yaml, TLS certificate, token, PIN file.
FROM node:24-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 make g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
# The headers that came with Node spare node-gyp a download.
RUN npm_config_nodedir=/usr/local npm ci
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
# One number everywhere, so that a directory of the host can be given to it: chown 10001:10001
RUN apt-get update && apt-get install -y --no-install-recommends softhsm2 openssl && rm -rf /var/lib/apt/lists/* \
  && groupadd --gid 10001 escrowd \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin escrowd \
  && install -d -m 0700 -o 10001 -g 10001 /data
WORKDIR /opt/escrowd
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY package.json LICENSE ./
COPY hsm-config hsm-config
COPY scripts scripts
ENV PATH=/opt/escrowd/scripts:$PATH NODE_ENV=production
USER 10001:10001
VOLUME /data
EXPOSE 8443
# The management listener, where it listens unless the configuration says otherwise. The self-test of a slow token takes its time.
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8444/readyz').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/opt/escrowd/dist/main.js"]
CMD ["--config", "/data/escrowd.yaml"]
