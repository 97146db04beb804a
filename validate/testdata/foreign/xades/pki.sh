set -e
cat > c.cnf <<'X'
[ca]
basicConstraints=critical,CA:true
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[leaf]
keyUsage=critical,digitalSignature,nonRepudiation
authorityKeyIdentifier=keyid
[tsa]
keyUsage=critical,digitalSignature
extendedKeyUsage=critical,timeStamping
[req]
distinguished_name=dn
[dn]
[ca0]
database=index.txt
crlnumber=crlnumber
default_md=sha256
default_crl_days=3650
X
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out root.key
openssl req -x509 -new -key root.key -subj '/O=Foreign/CN=Foreign Root' -days 7300 -config c.cnf -extensions ca -out root.pem
leaf() { # name, key, ext
  openssl req -new -key $1.key -subj "/O=Foreign/CN=$2" -config c.cnf -out $1.csr
  openssl x509 -req -in $1.csr -CA root.pem -CAkey root.key -CAcreateserial -days 7200 -extfile c.cnf -extensions $3 -out $1.pem
}
openssl genrsa 2048 2>/dev/null | openssl pkcs8 -topk8 -nocrypt -out rsa.key
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out ec.key
openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out tsa.key
leaf rsa 'RSA Signatory' leaf; leaf ec 'ECDSA Signatory' leaf; leaf tsa 'Foreign TSA' tsa
touch index.txt; echo 01 > crlnumber
