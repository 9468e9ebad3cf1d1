from tests.unit.gateway.identity import tokens

from lockgate.gateway.identity.port import IdentityVerifier, RevocationView
from lockgate.testing.identity_verifier import NOW, IdentityVerifierContract, TokenCase


class TestJwtVerifier(IdentityVerifierContract):
    def verifier(self, revocations: RevocationView) -> IdentityVerifier:
        return tokens.verifier(tokens.issuer(tenant_claim="tenant", tenants=("default",)), revoked=revocations)

    def mint(self, case: TokenCase) -> str:
        def agent(audience=tokens.MCP, **changes) -> dict:
            return tokens.claims(audience, tenant=changes.pop("tenant", "default"), **changes)

        human = tokens.human_claims(tenant="default")
        head = tokens.header()
        match case:
            case TokenCase.AGENT:
                return tokens.encode(head, agent())
            case TokenCase.HUMAN:
                return tokens.encode(head, human)
            case TokenCase.DELEGATED_AGENT:
                return tokens.encode(head, agent(act={"sub": "bot"}))
            case TokenCase.EXPIRED:
                return tokens.encode(head, agent(iat=int(NOW) - 600, exp=int(NOW) - 61))
            case TokenCase.NOT_YET_VALID:
                return tokens.encode(head, agent(nbf=int(NOW) + 61))
            case TokenCase.OTHER_AUDIENCE:
                return tokens.encode(head, agent("https://elsewhere.example/mcp"))
            case TokenCase.BOTH_AUDIENCES:
                return tokens.encode(head, human | {"aud": [tokens.MCP, tokens.API]})
            case TokenCase.UNSIGNED:
                return tokens.encode(tokens.header(alg="none"), agent(), lambda _: b"0")
            case TokenCase.FORGED:
                return tokens.encode(head, agent(), tokens.OTHER_ED.sign)
            case TokenCase.FOREIGN_ISSUER:
                return tokens.encode(head, agent(iss="https://evil.example"))
            case TokenCase.HUMAN_WITH_ACTOR:
                return tokens.encode(head, human | {"act": {"sub": "bot"}})
            case TokenCase.HUMAN_WITHOUT_AUTH_TIME:
                return tokens.encode(head, {k: v for k, v in human.items() if k != "auth_time"})
            case TokenCase.HUMAN_SIGNED_IN_LONG_AGO:
                return tokens.encode(head, human | {"auth_time": int(NOW) - 8 * 24 * 3600})
            case TokenCase.OTHER_TENANT:
                return tokens.encode(head, agent(tenant="other"))
