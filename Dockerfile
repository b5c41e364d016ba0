# escrowd with SoftHSM and a private PostgreSQL, as an unprivileged user.
#
#   docker build -t escrowd .
#   docker run --rm -p 8443:8443 -v escrowd-data:/data escrowd
#
# /data holds what scripts/ceremony and your configuration made: escrowd.yaml, TLS certificate, token, PIN file.
# For a network HSM, install its PKCS#11 module in a stage of your own and name it in the configuration.
FROM node:24-bookworm-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 make g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
RUN npm ci
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends softhsm2 openssl && rm -rf /var/lib/apt/lists/* \
  && useradd --system --create-home --home-dir /data escrowd
WORKDIR /opt/escrowd
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY package.json LICENSE ./
COPY hsm-config hsm-config
COPY scripts scripts
ENV PATH=/opt/escrowd/scripts:$PATH NODE_ENV=production
USER escrowd
VOLUME /data
EXPOSE 8443
ENTRYPOINT ["node", "/opt/escrowd/dist/main.js"]
CMD ["--config", "/data/escrowd.yaml"]
