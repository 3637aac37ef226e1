"""What a device asks of a bundle before it is installed: a certificate that keeps the device's limits."""

from __future__ import annotations

from typing import List

from edgehar.deploy.bundle import CERTIFICATE, Bundle
from edgehar.errors import InputError, MismatchError
from edgehar.results.certificate import Certificate, require_of
from edgehar.results.limits import Limits, breaches


def require_certified(bundle: Bundle, limits: Limits, precision: str) -> List[str]:
    """What should be known of a bundle whose certificate keeps `limits`; precision: in which it will be built.

    Raises MismatchError where it carries no certificate of robustness, or one of another artifact, or one that does
    not keep the limits.
    """
    name = "%s %s" % (bundle.facts["name"], bundle.facts["version"])
    content = bundle.members.get(CERTIFICATE)
    if content is None:
        raise MismatchError("%s is refused: it carries no certificate, and --require asks for one; measure it with "
                            "`edgehar robust` and pack it again." % name)
    try:
        certificate = Certificate.parse(content, "the certificate of %s" % name)
    except InputError as error:
        raise MismatchError("%s is refused: %s" % (name, error)) from error
    require_of(certificate, bundle.facts["artifact"]["sha256"], "the certificate of %s" % name)
    broken = breaches(certificate, limits)
    if broken:
        raise MismatchError("%s is refused, and what was current stays so: %s%s; install one that keeps these limits, "
                            "or change them." % (name, str(broken[0]),
                                                 ", and %d more" % (len(broken) - 1) if broken[1:] else ""))
    measured = certificate.engine["precision"]
    return [] if measured == precision else [
        "the certificate of %s was measured in %s, and this engine is %s." % (name, measured, precision)]
