# The two images, each a root filesystem that e2e/tools/images assembled beforehand: one program, its shared
# libraries, certificate authorities, one user without rights. No shell, no package manager, nothing to write to.
#
#   make images
FROM scratch AS operator
COPY nauthera-operator/ /
# Memory that a round needed goes back at once: rounds are seconds apart, and it would be a sixth of all.
ENV PATH=/usr/bin MIMALLOC_PURGE_DELAY=0
USER 65532:65532
ENTRYPOINT ["/usr/bin/nauthera-operator"]
CMD ["run"]

FROM scratch AS auth
COPY nauthera-auth/ /
ENV PATH=/usr/bin
USER 65532:65532
ENTRYPOINT ["/usr/bin/nauthera-auth"]
CMD ["serve"]
