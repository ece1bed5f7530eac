from mod_wsgi.express import main

if __name__ == "__main__":
    main()
