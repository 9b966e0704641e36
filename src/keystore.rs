//! Key and trust stores as operators have them: JKS, PKCS12 and PEM, told apart by their content.
